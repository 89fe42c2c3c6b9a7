import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { spreadWindows } from "./convolution-gradients.ts";
import { isPartition, type WindowGeometry } from "./window-geometry.ts";

/** An axis of up to this length is spread by a product with a stored matrix of (windows × length) numbers. */
const matrixUpTo = 128;

/** Numbers that weigh each window along each axis: `factors[axis][window]`. */
type Factors = readonly (readonly number[])[];

/**
 * The adjoint of summing over each window: values [N, C, output…] → [N, C, input…].
 * Sums over windows are separable, so this is one product with a small matrix per axis.
 */
export function spreadSums(g: Emit, values: Typed, geometry: WindowGeometry): Typed {
  const ones = geometry.output.map((windows) => {
    checkStored(windows);
    return Array<number>(windows).fill(1);
  });
  return spreadWeighted(g, values, geometry, ones);
}

/** The adjoint of averaging over each window, by the number of elements that count in it. */
export function spreadMeans(
  g: Emit,
  values: Typed,
  geometry: WindowGeometry,
  includePadding: boolean,
): Typed {
  const counts = geometry.kernel.map((_, axis) => windowCounts(geometry, axis, includePadding));
  return spreadWeighted(
    g,
    values,
    geometry,
    counts.map((list) => list.map((count) => 1 / Math.max(count, 1))),
  );
}

function spreadWeighted(g: Emit, values: Typed, geometry: WindowGeometry, factors: Factors): Typed {
  const { kernel, input } = geometry;
  const moved = kernel.map((_, axis) => axis).filter((axis) => !isIdentity(geometry, factors, axis));
  if (moved.some((axis) => Math.max(dimAt(input, axis), dimAt(geometry.output, axis)) > matrixUpTo)) {
    return spreadByConvolution(g, values, geometry, factors);
  }
  const wide = rowsOfWindows(g, values, geometry, factors);
  if (wide) return wide;
  // From the last axis to the first: [rows, windows] · [windows, length], then [length, windows] · [windows, columns].
  return moved.toReversed().reduce((spread, axis) => {
    const matrix = matrixOf(geometry, axis, factors);
    const [before, after] = [spread.shape.slice(0, axis + 2), spread.shape.slice(axis + 3)];
    const shape = [...before, dimAt(input, axis), ...after];
    const windows = dimAt(geometry.output, axis);
    if (after.length === 0) {
      const rows = g.reshape(spread, [elementCount(before), windows]);
      return g.reshape(g.matMul(rows, asConstant(g, matrix, values)), shape);
    }
    const stacked = g.reshape(spread, [elementCount(before), windows, elementCount(after)]);
    return g.reshape(g.matMul(asConstant(g, transposed(matrix), values), stacked), shape);
  }, values);
}

/** For windows that partition images: the elements of a row of windows are neighbors, so one product writes them all. */
function rowsOfWindows(
  g: Emit,
  values: Typed,
  geometry: WindowGeometry,
  factors: Factors,
): Typed | undefined {
  const { kernel, input, output } = geometry;
  const last = kernel.length - 1;
  const planar = kernel.slice(0, -2).every((size) => size === 1);
  const factor = factors[last - 1]?.[0] ?? 1;
  const uniform = factors
    .slice(0, -1)
    .every((list, axis) => list.every((f) => f === (axis === last - 1 ? factor : 1)));
  if (last < 1 || !planar || !uniform || !isPartition(geometry)) return undefined;
  const [height, windows] = [dimAt(kernel, last - 1), dimAt(output, last)];
  const matrix = matrixOf(geometry, last, factors).map((row) =>
    Array.from({ length: height }, () => row.map((entry) => entry * factor)).flat(),
  );
  const rows = g.reshape(values, [elementCount(values.shape) / windows, windows]);
  const spread = g.matMul(rows, asConstant(g, matrix, values));
  return g.reshape(spread, [...values.shape.slice(0, 2), ...input]);
}

/** For long axes: a convolution with a kernel of ones spreads the weighted values of each plane. */
function spreadByConvolution(g: Emit, values: Typed, geometry: WindowGeometry, factors: Factors): Typed {
  const { kernel, input, output } = geometry;
  const [batch, channels] = values.shape as [number, number];
  // Axis by axis: one product of all factors would store a number for each window.
  let scale = 1;
  const varied = factors.reduce((product, list, axis) => {
    const [first = 1] = list;
    if (list.some((factor) => factor !== first)) {
      const shape = [list.length, ...output.slice(axis + 1).map(() => 1)];
      return g.mul(product, asConstant(g, [list], values, shape));
    }
    scale *= first;
    return product;
  }, values);
  const weighted = scale === 1 ? varied : g.mul(varied, scale);
  const planes = g.reshape(weighted, [batch * channels, 1, ...output]);
  const ones = g.filled(1, [1, 1, ...kernel], values.type);
  return g.reshape(spreadWindows(g, planes, ones, geometry, 1), [batch, channels, ...input]);
}

/** [windows][length]: each window's factor, as often as it reads the element. */
function matrixOf(geometry: WindowGeometry, axis: number, factors: Factors): number[][] {
  return readsOf(geometry, axis).map((reads, window) => {
    const row = Array<number>(dimAt(geometry.input, axis)).fill(0);
    for (const at of reads) if (at in row) row[at] = (row[at] ?? 0) + (factors[axis]?.[window] ?? 1);
    return row;
  });
}

/** The positions that each window along an axis reads; those below 0 and beyond the input are padding. */
function readsOf(geometry: WindowGeometry, axis: number): number[][] {
  const at = (list: readonly number[]) => dimAt(list, axis);
  checkStored(at(geometry.output) * at(geometry.kernel));
  return Array.from({ length: at(geometry.output) }, (_, window) =>
    Array.from(
      { length: at(geometry.kernel) },
      (_, t) => window * at(geometry.strides) - at(geometry.begin) + t * at(geometry.dilations),
    ),
  );
}

/** Whether an axis has one window for each element, which reads only that. */
const isIdentity = (geometry: WindowGeometry, factors: Factors, axis: number): boolean =>
  dimAt(geometry.input, axis) === dimAt(geometry.output, axis) &&
  readsOf(geometry, axis).every((reads, window) => reads.length === 1 && reads[0] === window) &&
  (factors[axis] ?? []).every((factor) => factor === 1);

/** Numbers of elements in each window along one axis: padding counts if it is included, elements beyond it never. */
function windowCounts(geometry: WindowGeometry, axis: number, includePadding: boolean): number[] {
  const [dim, begin] = [dimAt(geometry.input, axis), dimAt(geometry.begin, axis)];
  const [low, high] = includePadding ? [-begin, dim + dimAt(geometry.end, axis)] : [0, dim];
  return readsOf(geometry, axis).map((reads) => reads.filter((at) => at >= low && at < high).length);
}

const transposed = (matrix: readonly (readonly number[])[]): number[][] =>
  (matrix[0] ?? []).map((_, column) => matrix.map((row) => row[column] ?? 0));

/** A matrix as a constant of the type of `beside`. */
function asConstant(g: Emit, matrix: readonly (readonly number[])[], beside: Typed, shape?: Shape): Typed {
  const size = shape ?? [matrix.length, matrix[0]?.length ?? 0];
  return g.numbers(matrix.flat(), size, beside.type);
}
