import { DataType, type DataTypeName } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type Attribute, float, int, ints, string } from "./attribute.ts";
import { EmitBase, type Typed, typed } from "./emit-base.ts";
import type { Value } from "./node.ts";
import {
  allAxes,
  broadcastAxes,
  broadcastShapes,
  dimAt,
  matMulShape,
  normalizeAxis,
  reducedShape,
  type Shape,
  sameShape,
} from "./shapes.ts";

/** What an operand of an elementwise operator may be: a value, or a number that becomes a scalar of the other's type. */
export type Operand = Value | number;

/**
 * Writes operators, one method each, and works out their shapes. The methods are the declared set of operators that
 * gradients, penalties, losses and optimizers may use (DESIGN §5.7): every backend runs each of them on its device.
 *
 * @example
 * const g = new Emit(graph, { prefix: "sorth/" });
 * const penalty = g.reduceMean(g.mul(x, x)); // x: [batch, units] → []
 */
export class Emit extends EmitBase {
  // Elementwise, one operand.
  neg = (x: Value): Typed => this.#unary("Neg", x);
  exp = (x: Value): Typed => this.#unary("Exp", x);
  log = (x: Value): Typed => this.#unary("Log", x);
  sqrt = (x: Value): Typed => this.#unary("Sqrt", x);
  reciprocal = (x: Value): Typed => this.#unary("Reciprocal", x);
  relu = (x: Value): Typed => this.#unary("Relu", x);
  tanh = (x: Value): Typed => this.#unary("Tanh", x);
  sigmoid = (x: Value): Typed => this.#unary("Sigmoid", x);
  softplus = (x: Value): Typed => this.#unary("Softplus", x);
  abs = (x: Value): Typed => this.#unary("Abs", x);
  erf = (x: Value): Typed => this.#unary("Erf", x);
  sin = (x: Value): Typed => this.#unary("Sin", x);
  cos = (x: Value): Typed => this.#unary("Cos", x);
  floor = (x: Value): Typed => this.#unary("Floor", x);
  identity = (x: Value): Typed => this.#unary("Identity", x);
  not = (x: Value): Typed => this.#unary("Not", x);

  // Elementwise, two operands that broadcast.
  add = (a: Operand, b: Operand): Typed => this.#binary("Add", a, b);
  sub = (a: Operand, b: Operand): Typed => this.#binary("Sub", a, b);
  mul = (a: Operand, b: Operand): Typed => this.#binary("Mul", a, b);
  div = (a: Operand, b: Operand): Typed => this.#binary("Div", a, b);
  pow = (a: Operand, b: Operand): Typed => this.#binary("Pow", a, b);
  max = (a: Operand, b: Operand): Typed => this.#binary("Max", a, b);
  min = (a: Operand, b: Operand): Typed => this.#binary("Min", a, b);
  equal = (a: Operand, b: Operand): Typed => this.#binary("Equal", a, b, "bool");
  greater = (a: Operand, b: Operand): Typed => this.#binary("Greater", a, b, "bool");
  less = (a: Operand, b: Operand): Typed => this.#binary("Less", a, b, "bool");
  greaterOrEqual = (a: Operand, b: Operand): Typed => this.#binary("GreaterOrEqual", a, b, "bool");
  lessOrEqual = (a: Operand, b: Operand): Typed => this.#binary("LessOrEqual", a, b, "bool");
  and = (a: Value, b: Value): Typed => this.#binary("And", a, b, "bool");

  /** `condition ? a : b`, all three broadcast. */
  where(condition: Value, a: Operand, b: Operand): Typed {
    const [x, y] = this.#operands(a, b);
    const shape = broadcastShapes(typed(condition).shape, broadcastShapes(x.shape, y.shape));
    return this.op("Where", [condition, x, y], shape, { type: x.type });
  }

  /** Another element type. */
  cast(x: Value, type: DataTypeName): Typed {
    const { shape } = typed(x);
    if (x.type === type) return x as Typed;
    return this.op("Cast", [x], shape, { type, attributes: { to: int(DataType[type]) } });
  }

  /** 1 where the condition holds and 0 elsewhere, as numbers of `type`. */
  indicator = (condition: Value, type: DataTypeName): Typed => this.cast(condition, type);

  /** x², one multiplication. */
  square = (x: Value): Typed => this.mul(x, x);

  // Linear algebra.

  /** MatMul(a: […, m, k], b: […, k, n]) → […, m, n]. */
  matMul(a: Value, b: Value): Typed {
    return this.op("MatMul", [a, b], matMulShape(typed(a).shape, typed(b).shape));
  }

  /** Gemm without a third operand: a: [m, k], b: [k, n] (either may be transposed) → [m, n]. */
  gemm(a: Value, b: Value, options: { transA?: boolean; transB?: boolean } = {}): Typed {
    const rows = dimAt(typed(a).shape, options.transA ? 1 : 0);
    const columns = dimAt(typed(b).shape, options.transB ? 0 : 1);
    return this.op("Gemm", [a, b], [rows, columns], {
      attributes: {
        ...(options.transA ? { transA: int(1) } : {}),
        ...(options.transB ? { transB: int(1) } : {}),
      },
    });
  }

  /** Axes in another order; without `perm` reversed. */
  transpose(x: Value, perm?: readonly number[]): Typed {
    const { shape } = typed(x);
    const order = perm ?? allAxes(shape.length).reverse();
    if (order.every((axis, index) => axis === index)) return x as Typed;
    return this.op(
      "Transpose",
      [x],
      order.map((axis) => dimAt(shape, axis)),
      { attributes: { perm: ints(order) } },
    );
  }

  /** The last two axes exchanged. */
  transposeLast(x: Value): Typed {
    const order = allAxes(typed(x).shape.length);
    const [row, column] = order.splice(-2) as [number, number];
    return this.transpose(x, [...order, column, row]);
  }

  // Shape.

  /** The same elements in another shape. */
  reshape(x: Value, shape: Shape): Typed {
    if (sameShape(typed(x).shape, shape)) return x as Typed;
    return this.op("Reshape", [x, this.int64s(shape)], shape);
  }

  /** The same elements, with dimensions given as Reshape's own codes (0 copies, −1 is left over): free of batch sizes. */
  reshapeAs(x: Value, code: readonly number[], shape: Shape): Typed {
    return this.op("Reshape", [x, this.int64s(code)], shape);
  }

  /** Broadcast to a larger shape. */
  expand(x: Value, shape: Shape): Typed {
    if (sameShape(typed(x).shape, shape)) return x as Typed;
    return this.op("Expand", [x, this.int64s(shape)], broadcastShapes(typed(x).shape, shape));
  }

  /** New axes of length 1 at these positions of the result. */
  unsqueeze(x: Value, axes: readonly number[]): Typed {
    const shape = [...typed(x).shape];
    for (const axis of [...axes].sort((a, b) => a - b)) shape.splice(axis, 0, 1);
    return this.reshape(x, shape);
  }

  /** Joins along an axis. */
  concat(values: readonly Value[], axis: number): Typed {
    const [first] = values;
    if (!first) throw new RangeError("concat of nothing");
    if (values.length === 1) return first as Typed;
    const shape = [...typed(first).shape];
    const at = normalizeAxis(axis, shape.length);
    shape[at] = values.reduce((sum, value) => sum + dimAt(typed(value).shape, at), 0);
    return this.op("Concat", values, shape, { attributes: { axis: int(at) } });
  }

  /** A part of each named axis: from `start` (counted from the front) in `length` steps of `step` (1; may be negative). */
  slice(x: Value, parts: readonly { axis: number; start: number; length: number; step?: number }[]): Typed {
    const shape = [...typed(x).shape];
    const whole = parts.every(
      ({ axis, start, length, step }) => start === 0 && length === shape[axis] && (step ?? 1) === 1,
    );
    if (whole) return x as Typed;
    const ends = parts.map(({ axis, start, length, step = 1 }) => {
      shape[axis] = length;
      const end = start + (length - 1) * step + Math.sign(step);
      return end < 0 ? -2147483648 : end;
    });
    return this.op(
      "Slice",
      [
        x,
        this.int64s(parts.map(({ start }) => start)),
        this.int64s(ends),
        this.int64s(parts.map(({ axis }) => axis)),
        this.int64s(parts.map(({ step }) => step ?? 1)),
      ],
      shape,
    );
  }

  /** A constant border: `pads` as ONNX gives them, all beginnings, then all ends; negative crops. */
  pad(x: Value, pads: readonly number[], value = 0): Typed {
    const { shape, type } = typed(x);
    if (pads.every((pad) => pad === 0)) return x as Typed;
    const padded = shape.map((dim, axis) => dim + (pads[axis] ?? 0) + (pads[axis + shape.length] ?? 0));
    return this.op("Pad", [x, this.int64s(pads), ...(value === 0 ? [] : [this.scalar(value, type)])], padded);
  }

  /** Rows of `x` along `axis`, by index. */
  gather(x: Value, indices: Value, axis = 0): Typed {
    const { shape } = typed(x);
    const at = normalizeAxis(axis, shape.length);
    return this.op(
      "Gather",
      [x, indices],
      [...shape.slice(0, at), ...typed(indices).shape, ...shape.slice(at + 1)],
      {
        attributes: { axis: int(at) },
      },
    );
  }

  /** `data` with `updates` added at `indices` (int64, […, r]: positions along the first r axes; repeats add up). */
  scatterAdd(data: Value, indices: Value, updates: Value): Typed {
    return this.op("ScatterND", [data, indices, updates], typed(data).shape, {
      attributes: { reduction: string("add") },
    });
  }

  /** The elements or slices of `data` at `indices` (int64, […, r]). */
  gatherND(data: Value, indices: Value): Typed {
    const { shape } = typed(indices);
    return this.op(
      "GatherND",
      [data, indices],
      [...shape.slice(0, -1), ...typed(data).shape.slice(dimAt(shape, -1))],
    );
  }

  // Reductions. Without axes, over all of them. Axes of length 1 that are kept cost nothing.
  reduceSum = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceSum", x, axes, keepdims);
  reduceMean = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceMean", x, axes, keepdims);
  reduceMax = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceMax", x, axes, keepdims);
  reduceMin = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceMin", x, axes, keepdims);

  /** Sums a gradient over the axes along which `shape` was broadcast, so that it fits `shape` again. */
  sumTo(x: Value, shape: Shape): Typed {
    const from = typed(x).shape;
    if (sameShape(from, shape)) return x as Typed;
    const axes = broadcastAxes(from, shape);
    const summed = axes.length > 0 ? this.reduceSum(x, axes, true) : x;
    return this.reshape(summed, shape);
  }

  // Convolutions.

  /** Conv of x: [N, C, …] by w: [O, C/group, …]; every attribute explicit. */
  conv(x: Value, w: Value, options: ConvOptions): Typed {
    const [input, kernel] = [typed(x).shape, typed(w).shape];
    const spatial = input.slice(2).map((dim, i) => {
      const [stride, dilation] = [options.strides[i] ?? 1, options.dilations[i] ?? 1];
      const padding = (options.pads[i] ?? 0) + (options.pads[i + input.length - 2] ?? 0);
      return Math.floor((dim + padding - dilation * (dimAt(kernel, i + 2) - 1) - 1) / stride) + 1;
    });
    return this.op("Conv", [x, w], [dimAt(input, 0), dimAt(kernel, 0), ...spatial], {
      attributes: convAttributes(kernel, options),
    });
  }

  /** ConvTranspose of x: [N, C, …] by w: [C, M/group, …]; `outputPadding` adds to the end of each axis. */
  convTranspose(x: Value, w: Value, options: ConvOptions & { outputPadding: readonly number[] }): Typed {
    const [input, kernel] = [typed(x).shape, typed(w).shape];
    const spatial = input.slice(2).map((dim, i) => {
      const [stride, dilation] = [options.strides[i] ?? 1, options.dilations[i] ?? 1];
      const padding = (options.pads[i] ?? 0) + (options.pads[i + input.length - 2] ?? 0);
      return (
        stride * (dim - 1) +
        (options.outputPadding[i] ?? 0) +
        dilation * (dimAt(kernel, i + 2) - 1) +
        1 -
        padding
      );
    });
    return this.op("ConvTranspose", [x, w], [dimAt(input, 0), dimAt(kernel, 1) * options.group, ...spatial], {
      attributes: { ...convAttributes(kernel, options), output_padding: ints(options.outputPadding) },
    });
  }

  // Constants.

  /** A tensor filled with one number, never stored: a scalar expanded. */
  filled(value: number, shape: Shape, type: DataTypeName = "float"): Typed {
    return this.expand(this.scalar(value, type), shape);
  }

  /** 0, 1, … n−1 as int32, of shape [n]. */
  iota(n: number): Typed {
    return this.constant(
      "int32",
      [n],
      Int32Array.from({ length: n }, (_, i) => i),
    );
  }

  /** 1 off the diagonal and 0 on it, [n, n], made from two iotas: never stored as an n×n constant. */
  offDiagonal(n: number, type: DataTypeName = "float"): Typed {
    return this.once(`offDiagonal ${n} ${type}`, () => this.sub(1, this.identityMatrix(n, type)));
  }

  /** The n×n identity, made from two iotas. */
  identityMatrix(n: number, type: DataTypeName = "float"): Typed {
    return this.once(`identity ${n} ${type}`, () => {
      const row = this.constant(
        "int32",
        [1, n],
        Int32Array.from({ length: n }, (_, i) => i),
      );
      const column = this.constant(
        "int32",
        [n, 1],
        Int32Array.from({ length: n }, (_, i) => i),
      );
      return this.cast(this.equal(column, row), type);
    });
  }

  #unary(opType: string, x: Value): Typed {
    return this.op(opType, [x], typed(x).shape);
  }

  #binary(opType: string, a: Operand, b: Operand, type?: DataTypeName): Typed {
    const [x, y] = this.#operands(a, b);
    return this.op(opType, [x, y], broadcastShapes(x.shape, y.shape), { type: type ?? x.type });
  }

  #operands(a: Operand, b: Operand): [Typed, Typed] {
    if (typeof a !== "number")
      return [typed(a), typeof b === "number" ? this.scalar(b, typed(a).type) : typed(b)];
    return typeof b === "number"
      ? [this.scalar(a), this.scalar(b)]
      : [this.scalar(a, typed(b).type), typed(b)];
  }

  #reduce(opType: string, x: Value, axes: readonly number[] | undefined, keepdims: boolean): Typed {
    const { shape } = typed(x);
    const over = (axes ?? allAxes(shape.length)).map((axis) => normalizeAxis(axis, shape.length));
    const result = reducedShape(shape, over, keepdims);
    // A reduction over axes of length 1 (or over none) only changes the shape.
    if (elementCount(over.map((axis) => dimAt(shape, axis))) === 1) return this.reshape(x, result);
    const attributes: Record<string, Attribute> = { keepdims: int(keepdims ? 1 : 0) };
    const axesAreInput = this.opset >= (opType === "ReduceSum" ? 13 : 18);
    if (axesAreInput) return this.op(opType, [x, this.int64s(over)], result, { attributes });
    return this.op(opType, [x], result, { attributes: { axes: ints(over), ...attributes } });
  }

  /** LeakyRelu and the like: an operator with one float attribute. */
  unaryWith(opType: string, x: Value, attributes: Record<string, number>): Typed {
    return this.op(opType, [x], typed(x).shape, {
      attributes: Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, float(value)])),
    });
  }
}

/** Geometry of a convolution, spatial axes only; `pads` all beginnings, then all ends. */
export interface ConvOptions {
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  readonly dilations: readonly number[];
  readonly group: number;
}

function convAttributes(kernel: Shape, options: ConvOptions): Record<string, Attribute> {
  return {
    kernel_shape: ints(kernel.slice(2)),
    strides: ints(options.strides),
    pads: ints(options.pads),
    dilations: ints(options.dilations),
    group: int(options.group),
  };
}
