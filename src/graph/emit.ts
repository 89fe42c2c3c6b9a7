import type { DataTypeName } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type Attribute, float, int, ints, string } from "./attribute.ts";
import { type Typed, typed } from "./emit-base.ts";
import { EmitIndexing } from "./emit-indexing.ts";
import type { Value } from "./node.ts";
import { reductionStages, type Stage } from "./reduction-stages.ts";
import {
  allAxes,
  broadcastAxes,
  dimAt,
  matMulShape,
  normalizeAxis,
  reducedShape,
  type Shape,
  sameShape,
} from "./shapes.ts";
import { listed } from "./stored-lists.ts";

export type { Operand } from "./emit-elementwise.ts";

/**
 * Emits operators, one method each, and computes their output shapes. The methods are the set of operators that
 * gradients, penalties, losses and optimizers may use (DESIGN §5.7): every backend runs each of them on its device.
 *
 * @example
 * const g = new Emit(graph, { prefix: "mine/" });
 * const penalty = g.reduceMean(g.mul(x, x)); // x: [batch, units] → []
 */
export class Emit extends EmitIndexing {
  // Linear algebra.

  /** MatMul(a: […, m, k], b: […, k, n]) → […, m, n]. */
  matMul(a: Value, b: Value): Typed {
    return this.op("MatMul", [a, b], matMulShape(typed(a).shape, typed(b).shape));
  }

  /** Gemm: a: [m, k], b: [k, n] (either may be transposed), and perhaps `added`, which broadcasts to the result → [m, n]. */
  gemm(a: Value, b: Value, options: { transA?: boolean; transB?: boolean; added?: Value } = {}): Typed {
    const rows = dimAt(typed(a).shape, options.transA ? 1 : 0);
    const columns = dimAt(typed(b).shape, options.transB ? 0 : 1);
    // Gemm's third operand is optional since opset 11.
    const added = options.added ? [options.added] : this.opset < 11 ? [this.scalar(0, typed(a).type)] : [];
    return this.op("Gemm", [a, b, ...added], [rows, columns], {
      attributes: {
        ...(options.transA ? { transA: int(1) } : {}),
        ...(options.transB ? { transB: int(1) } : {}),
      },
    });
  }

  /** Einsum with one letter per axis and an explicit result: `ij,jk->ik`. */
  einsum(equation: string, values: readonly Value[]): Typed {
    const [left = "", right = ""] = equation.split("->");
    const sizes = new Map<string, number>();
    left.split(",").forEach((letters, i) => {
      [...letters].forEach((letter, axis) => {
        sizes.set(letter, dimAt(typed(values[i] as Value).shape, axis));
      });
    });
    const shape = [...right].map((letter) => sizes.get(letter) ?? 0);
    return this.op("Einsum", values, shape, { attributes: { equation: string(equation) } });
  }

  /** Determinants of x: […, n, n] → […]. */
  det(x: Value): Typed {
    return this.op("Det", [x], typed(x).shape.slice(0, -2));
  }

  /**
   * Discrete Fourier transform along `axis` of x: […, n, …, 1 or 2], whose last axis holds real and imaginary part.
   * `onesided` returns only the first ⌊n/2⌋ + 1 terms; `inverse` divides by n.
   */
  dft(x: Value, axis: number, options: { inverse?: boolean; onesided?: boolean } = {}): Typed {
    const shape = [...typed(x).shape.slice(0, -1), 2];
    if (options.onesided) shape[axis] = Math.floor(dimAt(shape, axis) / 2) + 1;
    const asInput = this.opset >= 20;
    return this.op("DFT", asInput ? [x, null, this.scalar(axis, "int64")] : [x], shape, {
      attributes: {
        ...(asInput ? {} : { axis: int(axis) }),
        ...(options.inverse ? { inverse: int(1) } : {}),
        ...(options.onesided ? { onesided: int(1) } : {}),
      },
    });
  }

  // Sums and means of many numbers are computed in stages, in which float32 stays exact enough (see reductionStages).

  /**
   * The sum over some axes, by default over all of them.
   * @param fixed - whether x has the same shape for all inputs, so that a long axis may be cut even in a graph with open lengths
   */
  reduceSum = (x: Value, axes?: readonly number[], keepdims = false, fixed = false): Typed =>
    this.#reduce("ReduceSum", x, axes, keepdims, fixed);
  /** The mean over some axes, by default over all of them. */
  reduceMean = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceMean", x, axes, keepdims);
  /** The largest number over some axes, by default over all of them. */
  reduceMax = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceMax", x, axes, keepdims);
  /** The smallest number over some axes, by default over all of them. */
  reduceMin = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceMin", x, axes, keepdims);

  /** The mean of all elements. The graph stores no length, so the mean is right for any length of an axis at run time. */
  meanOfAll = (x: Value): Typed => {
    const { shape } = typed(x);
    if (shape.length === 0) return x as Typed;
    const stages = reductionStages(shape, allAxes(shape.length), { cut: false, keepdims: false });
    return this.#reduceInStages("ReduceMean", x, stages, false);
  };

  /** eˣ/Σ eˣ along the last axis. */
  softmax = (x: Value): Typed => this.op("Softmax", [x], typed(x).shape, { attributes: { axis: int(-1) } });

  /** Sums a gradient over the axes along which `shape` was broadcast. */
  sumTo(x: Value, shape: Shape): Typed {
    const from = typed(x).shape;
    if (sameShape(from, shape)) return x as Typed;
    const axes = broadcastAxes(from, shape);
    const summed = axes.length > 0 ? this.reduceSum(x, axes, true) : x;
    return this.reshape(summed, shape);
  }

  /**
   * (x − mean)·scale + shift, where each index of axis 1 has its own numbers; each of the three may be left out. Two of them
   * take one pass over x: the inference form of BatchNormalization with variance 1.
   * @param x - [N, C, …]
   * @param numbers - each [C], in x's type
   */
  affine(x: Value, { mean, scale, shift }: { mean?: Value; scale?: Value; shift?: Value }): Typed {
    const { type, shape } = typed(x);
    const channels = dimAt(shape, 1);
    const count = elementCount(shape.slice(2));
    const column = (values: Value) => this.reshape(values, [channels, ...shape.slice(2).map(() => 1)]);
    const steps = [mean, scale, shift].filter((values) => values !== undefined).length;
    // A single step is as fast by broadcasting, except along short inner axes: [16, 512, 2, 2] × [512, 1, 1] takes 3 times as long.
    // Without inner axes, BatchNormalization takes 0.17 µs a row, [4096, 64] 7 times as long as a step by broadcasting.
    const fast = (type === "float" || type === "double") && this.opset >= 9;
    if (!fast || count === 1 || (steps < 2 && count >= 64)) {
      const centred = mean ? this.sub(x, column(mean)) : typed(x);
      const scaled = scale ? this.mul(centred, column(scale)) : centred;
      return shift ? this.add(scaled, column(shift)) : scaled;
    }
    const all = (value: number) => this.numbers(Array<number>(channels).fill(value), [channels], type);
    return this.op(
      "BatchNormalization",
      [x, scale ?? all(1), shift ?? all(0), mean ?? all(0), all(1)],
      shape,
      { attributes: { epsilon: float(0) } },
    );
  }

  // Convolutions.

  /** Conv of x: [N, C, …] by w: [O, C/group, …], with every attribute explicit. */
  conv(x: Value, w: Value, options: ConvOptions): Typed {
    const [input, kernel] = [typed(x).shape, typed(w).shape];
    const spatial = convAxes(input, kernel, options).map(
      ({ dim, stride, reach, padding }) => Math.floor((dim + padding - reach) / stride) + 1,
    );
    return this.op("Conv", [x, w], [dimAt(input, 0), dimAt(kernel, 0), ...spatial], {
      attributes: convAttributes(kernel, options),
    });
  }

  /** ConvTranspose of x: [N, C, …] by w: [C, M/group, …]; `outputPadding` adds to the end of each axis. */
  convTranspose(x: Value, w: Value, options: ConvOptions & { outputPadding: readonly number[] }): Typed {
    const [input, kernel] = [typed(x).shape, typed(w).shape];
    const spatial = convAxes(input, kernel, options).map(
      ({ dim, stride, reach, padding }, i) =>
        stride * (dim - 1) + (options.outputPadding[i] ?? 0) + reach - padding,
    );
    return this.op("ConvTranspose", [x, w], [dimAt(input, 0), dimAt(kernel, 1) * options.group, ...spatial], {
      attributes: { ...convAttributes(kernel, options), output_padding: ints(options.outputPadding) },
    });
  }

  // Constants.

  /** A tensor filled with one number: an expanded scalar, so that no tensor is stored. */
  filled(value: number, shape: Shape, type: DataTypeName = "float"): Typed {
    return this.expand(this.scalar(value, type), shape);
  }

  /** 0, 1, … n−1 as int32, [n]. */
  iota(n: number): Typed {
    return this.constant("int32", [n], listed(n));
  }

  /** 1 off the diagonal and 0 on it, [n, n]; computed, so that no n×n constant is stored. */
  offDiagonal(n: number, type: DataTypeName = "float"): Typed {
    return this.once(`offDiagonal ${n} ${type}`, () => this.sub(1, this.identityMatrix(n, type)));
  }

  /** The n×n identity, computed from two iotas. */
  identityMatrix(n: number, type: DataTypeName = "float"): Typed {
    return this.once(`identity ${n} ${type}`, () => {
      const row = this.constant("int32", [1, n], listed(n));
      const column = this.constant("int32", [n, 1], listed(n));
      return this.cast(this.equal(column, row), type);
    });
  }

  #reduce(
    opType: string,
    x: Value,
    axes: readonly number[] | undefined,
    keepdims: boolean,
    fixed = false,
  ): Typed {
    const { shape } = typed(x);
    const open = this.options.openShapes === true;
    const over = (axes ?? allAxes(shape.length)).map((axis) => normalizeAxis(axis, shape.length));
    const result = reducedShape(shape, over, keepdims);
    // A reduction over no axes, or over axes of length 1, only changes the shape.
    const trivial = elementCount(over.map((axis) => dimAt(shape, axis))) === 1;
    if (trivial && (!open || over.length === 0)) return this.reshape(x, result);
    if (opType === "ReduceMax" || opType === "ReduceMin")
      return this.#reduceAtOnce(opType, x, over, keepdims);
    const stages = reductionStages(shape, over, { cut: !open || fixed, keepdims });
    return this.#reduceInStages(opType, x, stages, keepdims);
  }

  #reduceInStages(opType: string, x: Value, stages: readonly Stage[], keepdims: boolean): Typed {
    let value = typed(x);
    for (const { axes, pieces, dropped } of stages) {
      const [axis = 0] = axes;
      const result = reducedShape(value.shape, axes, keepdims);
      value = this.reshape(value, value.shape.slice(0, value.shape.length - dropped));
      for (const piece of pieces) {
        const { shape } = value;
        const cut = [...shape.slice(0, axis), dimAt(shape, axis) / piece, piece, ...shape.slice(axis + 1)];
        value = this.#reduceAtOnce(opType, this.reshape(value, cut), [axis + 1], false);
      }
      value = this.reshape(this.#reduceAtOnce(opType, value, axes, keepdims), result);
    }
    return value;
  }

  #reduceAtOnce(opType: string, x: Value, axes: readonly number[], keepdims: boolean): Typed {
    const result = reducedShape(typed(x).shape, axes, keepdims);
    const attributes: Record<string, Attribute> = { keepdims: int(keepdims ? 1 : 0) };
    const axesAreInput = this.opset >= (opType === "ReduceSum" ? 13 : 18);
    if (axesAreInput) return this.op(opType, [x, this.int64s(axes)], result, { attributes });
    return this.op(opType, [x], result, { attributes: { axes: ints(axes), ...attributes } });
  }
}

/** Geometry of a convolution, for spatial axes only; `pads` lists all beginnings, then all ends. */
export interface ConvOptions {
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  readonly dilations: readonly number[];
  readonly group: number;
}

/** Each spatial axis of a convolution; `reach`: the elements from a window's first to its last. */
const convAxes = (input: Shape, kernel: Shape, { strides, pads, dilations }: ConvOptions) =>
  input.slice(2).map((dim, i) => ({
    ...{ dim, stride: strides[i] ?? 1, padding: (pads[i] ?? 0) + (pads[i + input.length - 2] ?? 0) },
    reach: (dilations[i] ?? 1) * (dimAt(kernel, i + 2) - 1) + 1,
  }));

function convAttributes(kernel: Shape, options: ConvOptions): Record<string, Attribute> {
  return {
    kernel_shape: ints(kernel.slice(2)),
    strides: ints(options.strides),
    pads: ints(options.pads),
    dilations: ints(options.dilations),
    group: int(options.group),
  };
}
