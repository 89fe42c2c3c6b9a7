import { isHalf } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { int, string } from "./attribute.ts";
import { type Typed, typed } from "./emit-base.ts";
import { EmitShape } from "./emit-shape.ts";
import type { Value } from "./node.ts";
import { dimAt, normalizeAxis } from "./shapes.ts";
import { listed } from "./stored-lists.ts";

/** The operators of {@link Emit} that read or write elements at indices. */
export class EmitIndexing extends EmitShape {
  /** Slices of `x` along `axis`, selected by index. */
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

  /** The diagonals of x, as columns: […, n, n] → […, n, 1]. */
  diagonal(x: Value): Typed {
    const { shape } = typed(x);
    const n = dimAt(shape, -1);
    const lead = shape.slice(0, -2);
    const places = this.constant(
      "int32",
      [n, 1],
      listed(n, (i) => i * (n + 1)),
    );
    return this.gather(this.reshape(x, [...lead, n * n]), places, lead.length);
  }

  /** Square matrices x […, n, n] with `values` […, n, 1] on their diagonals. */
  withDiagonal(x: Value, values: Value): Typed {
    const { shape } = typed(values);
    const n = dimAt(shape, -2);
    const places = listed(elementCount(shape), (i) => i % n);
    return this.scatterElements(x, this.constant("int32", shape, places), values, -1);
  }

  /** `data` with `updates` written, or combined by `reduction`, at `indices` (int64, […, r]: positions along the first r axes). */
  scatter(data: Value, indices: Value, updates: Value, reduction: ScatterReduction = "none"): Typed {
    if (reduction === "none") return this.op("ScatterND", [data, indices, updates], typed(data).shape);
    return this.#inFloat32(data, updates, (into, values) =>
      this.op("ScatterND", [into, indices, values], into.shape, {
        attributes: { reduction: string(reduction) },
      }),
    );
  }

  /** `data` with `updates` added at `indices`; repeated indices add up. */
  scatterAdd = (data: Value, indices: Value, updates: Value): Typed =>
    this.scatter(data, indices, updates, "add");

  /** The elements or slices of `data` at `indices` (int64, […, r]). */
  gatherND(data: Value, indices: Value): Typed {
    const { shape } = typed(indices);
    return this.op(
      "GatherND",
      [data, indices],
      [...shape.slice(0, -1), ...typed(data).shape.slice(dimAt(shape, -1))],
    );
  }

  /** Elements of `x` along `axis` at `indices`, which have the result's shape (equal to x's except along the axis). */
  gatherElements(x: Value, indices: Value, axis: number): Typed {
    const at = normalizeAxis(axis, typed(x).shape.length);
    return this.op("GatherElements", [x, indices], typed(indices).shape, { attributes: { axis: int(at) } });
  }

  /** `data` with `updates` (in the shape of `indices`) written, or combined by `reduction`, at `indices` along `axis`. */
  scatterElements(
    data: Value,
    indices: Value,
    updates: Value,
    axis: number,
    reduction: ScatterReduction = "none",
  ): Typed {
    const { shape } = typed(data);
    const attributes = { axis: int(normalizeAxis(axis, shape.length)) };
    if (reduction === "none") {
      return this.op("ScatterElements", [data, indices, updates], shape, { attributes });
    }
    return this.#inFloat32(data, updates, (into, values) =>
      this.op("ScatterElements", [into, indices, values], shape, {
        attributes: { ...attributes, reduction: string(reduction) },
      }),
    );
  }

  /** Scatters half types as float32, because ONNX Runtime's CPU kernels cannot combine halves. */
  #inFloat32(data: Value, updates: Value, scatter: (data: Typed, updates: Typed) => Typed): Typed {
    const { type } = typed(data);
    if (!isHalf(type)) return scatter(typed(data), typed(updates));
    return this.cast(scatter(this.cast(data, "float"), this.cast(updates, "float")), type);
  }

  /** `data` with `updates` added at `indices` along `axis`; repeated indices add up. */
  scatterElementsAdd = (data: Value, indices: Value, updates: Value, axis: number): Typed =>
    this.scatterElements(data, indices, updates, axis, "add");

  /** Running sums along `axis`: from the end if `reverse`, without the element itself if `exclusive`. */
  cumSum(
    x: Value,
    axis: number,
    { reverse = false, exclusive = false }: { reverse?: boolean; exclusive?: boolean } = {},
  ): Typed {
    const { shape } = typed(x);
    const at = this.scalar(normalizeAxis(axis, shape.length), "int32");
    return this.op("CumSum", [x, at], shape, {
      attributes: { ...(reverse ? { reverse: int(1) } : {}), ...(exclusive ? { exclusive: int(1) } : {}) },
    });
  }

  /** The triangle on and above the diagonal `k` (or on and below it) of the last two axes, zeros elsewhere. */
  trilu(x: Value, k: number, upper: boolean): Typed {
    const diagonal = k === 0 ? [] : [this.scalar(k, "int64")];
    return this.op("Trilu", [x, ...diagonal], typed(x).shape, {
      attributes: upper ? {} : { upper: int(0) },
    });
  }

  /** Reverses the first `lengths[b]` elements along `timeAxis` for each index b of `batchAxis`; the axes are 0 and 1. */
  reverseSequence(x: Value, lengths: Value, axes: { batchAxis: number; timeAxis: number }): Typed {
    return this.op("ReverseSequence", [x, lengths], typed(x).shape, {
      attributes: { batch_axis: int(axes.batchAxis), time_axis: int(axes.timeAxis) },
    });
  }
}

/** How a scatter combines an update with the old element; `none` overwrites it. */
export type ScatterReduction = "none" | "add" | "mul" | "max" | "min";
