import { SorthError } from "../errors.ts";

/** Shape of one tensor, outermost axis first; [] is a scalar. */
export type Shape = readonly number[];

/** A shape as text for messages: `[2, 3]`. */
export const shapeText = (shape: Shape | undefined): string => (shape ? `[${shape.join(", ")}]` : "[?]");

/** Whether two shapes are the same. */
export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((dim, i) => dim === b[i]);

/** Converts an axis that may count from the end (negative) to a non-negative one. */
export function normalizeAxis(axis: number, rank: number): number {
  const normalized = axis < 0 ? axis + rank : axis;
  if (normalized < 0 || normalized >= Math.max(rank, 1))
    throw new SorthError(`axis ${axis} is outside rank ${rank}`);
  return normalized;
}

/** A dimension of a shape. @throws SorthError when the axis is outside its rank */
export function dimAt(shape: Shape, axis: number): number {
  const dim = shape[axis < 0 ? axis + shape.length : axis];
  if (dim === undefined) throw new SorthError(`shape ${shapeText(shape)} has no axis ${axis}`);
  return dim;
}

/** The shape to which both shapes broadcast (NumPy's rules). @throws SorthError when they do not broadcast */
export function broadcastShapes(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new SorthError(`shapes ${shapeText(a)} and ${shapeText(b)} do not broadcast`);
    }
    return x === 1 ? y : x;
  });
}

/** The axes over which a gradient of shape `from` is summed to fit `to`, the shape of the broadcast operand. */
export function broadcastAxes(from: Shape, to: Shape): number[] {
  const lead = from.length - to.length;
  return from.flatMap((dim, axis) => (axis < lead || (to[axis - lead] === 1 && dim !== 1) ? [axis] : []));
}

/** Shape after a reduction over `axes`. */
export function reducedShape(shape: Shape, axes: readonly number[], keepdims: boolean): Shape {
  const reduced = new Set(axes.map((axis) => normalizeAxis(axis, shape.length)));
  return shape.flatMap((dim, axis) => (reduced.has(axis) ? (keepdims ? [1] : []) : [dim]));
}

/** Shape of MatMul(a, b), also for 1-D operands. */
export function matMulShape(a: Shape, b: Shape): Shape {
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  if (left.at(-1) !== right.at(-2)) {
    throw new SorthError(`MatMul of ${shapeText(a)} and ${shapeText(b)}: inner dimensions differ`);
  }
  const batch = broadcastShapes(left.slice(0, -2), right.slice(0, -2));
  return [
    ...batch,
    ...(a.length === 1 ? [] : [dimAt(left, -2)]),
    ...(b.length === 1 ? [] : [dimAt(right, -1)]),
  ];
}

/** Axes 0 … rank−1. */
export const allAxes = (rank: number): number[] => Array.from({ length: rank }, (_, axis) => axis);

/** Whether the first axis of a convolution's weight can be divided into this number of groups. ONNX Runtime notices only when the model runs. */
export const isGroupCount = (groups: number, weight: Shape): boolean =>
  groups >= 1 && dimAt(weight, 0) % groups === 0;
