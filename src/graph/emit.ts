import type { DataTypeName } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type Attribute, int, ints, string } from "./attribute.ts";
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

export type { Operand } from "./emit-elementwise.ts";

/**
 * Writes operators, one method each, and works out their shapes. The methods are the declared set of operators that
 * gradients, penalties, losses and optimizers may use (DESIGN §5.7): every backend runs each of them on its device.
 *
 * @example
 * const g = new Emit(graph, { prefix: "sorth/" });
 * const penalty = g.reduceMean(g.mul(x, x)); // x: [batch, units] → []
 */
export class Emit extends EmitIndexing {
  // Linear algebra.

  /** MatMul(a: […, m, k], b: […, k, n]) → […, m, n]. */
  matMul(a: Value, b: Value): Typed {
    return this.op("MatMul", [a, b], matMulShape(typed(a).shape, typed(b).shape));
  }

  /** Gemm without a third operand: a: [m, k], b: [k, n] (either may be transposed) → [m, n]. */
  gemm(a: Value, b: Value, options: { transA?: boolean; transB?: boolean } = {}): Typed {
    const rows = dimAt(typed(a).shape, options.transA ? 1 : 0);
    const columns = dimAt(typed(b).shape, options.transB ? 0 : 1);
    // The third operand is optional since opset 11.
    const added = this.opset < 11 ? [this.scalar(0, typed(a).type)] : [];
    return this.op("Gemm", [a, b, ...added], [rows, columns], {
      attributes: {
        ...(options.transA ? { transA: int(1) } : {}),
        ...(options.transB ? { transB: int(1) } : {}),
      },
    });
  }

  /** Einsum with one letter per axis and a written-out result: `ij,jk->ik`. */
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
   * Discrete Fourier transform along `axis` of x: […, n, …, 1 or 2], the last axis real and imaginary parts; `onesided`
   * makes the first ⌊n/2⌋ + 1 terms alone, `inverse` divides by n.
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

  // Reductions. Without axes, over all of them. Axes of length 1 that are kept cost nothing. Sums and means of many numbers are
  // taken in stages, in which float32 loses nothing (see reductionStages). `fixed`: x has the same shape whatever is fed, so
  // that a long axis may be cut also where the graph's lengths are open.
  reduceSum = (x: Value, axes?: readonly number[], keepdims = false, fixed = false): Typed =>
    this.#reduce("ReduceSum", x, axes, keepdims, fixed);
  reduceMean = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceMean", x, axes, keepdims);
  reduceMax = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceMax", x, axes, keepdims);
  reduceMin = (x: Value, axes?: readonly number[], keepdims = false): Typed =>
    this.#reduce("ReduceMin", x, axes, keepdims);

  /** The mean of all elements, whatever the length of an axis is when the graph runs: no length stands in the graph. */
  meanOfAll = (x: Value): Typed => {
    const { shape } = typed(x);
    if (shape.length === 0) return x as Typed;
    const stages = reductionStages(shape, allAxes(shape.length), { cut: false, keepdims: false });
    return this.#reduceInStages("ReduceMean", x, stages, false);
  };

  /** eˣ/Σ eˣ along the last axis. */
  softmax = (x: Value): Typed => this.op("Softmax", [x], typed(x).shape, { attributes: { axis: int(-1) } });

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
    // A reduction over axes of length 1 (or over none) only changes the shape.
    const trivial = elementCount(over.map((axis) => dimAt(shape, axis))) === 1;
    if (trivial && (!open || over.length === 0)) return this.reshape(x, result);
    if (opType === "ReduceMax" || opType === "ReduceMin")
      return this.#reduceAtOnce(opType, x, over, keepdims);
    const stages = reductionStages(shape, over, { cut: !open || fixed, keepdims });
    return this.#reduceInStages(opType, x, stages, keepdims);
  }

  #reduceInStages(opType: string, x: Value, stages: readonly Stage[], keepdims: boolean): Typed {
    let value = typed(x);
    for (const { axes, pieces } of stages) {
      const [axis = 0] = axes;
      for (const piece of pieces) {
        const { shape } = value;
        const cut = [...shape.slice(0, axis), dimAt(shape, axis) / piece, piece, ...shape.slice(axis + 1)];
        value = this.#reduceAtOnce(opType, this.reshape(value, cut), [axis + 1], false);
      }
      value = this.#reduceAtOnce(opType, value, axes, keepdims);
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
