import type { Site } from "../analysis/site-types.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { sameShape } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";

/** Where the units are in a response. */
export type ResponseLayout = Pick<Site, "units" | "groups" | "unitAxis"> & Partial<Pick<Site, "freeAxes">>;

/**
 * A response in the layout for products. The emitted nodes contain no length of a free axis.
 * - `unitsLast` […, k]: the Gram matrix is one product over all rows.
 * - `positionsLast` [N…, k, L] or [N…, groups, k/groups, L]: one product per sample, whose sum writes N·k² numbers.
 * - `gathered` [k, rows] or [groups, k/groups, rows]: one product, after a transposition that moves N·k·L numbers. It is for
 *   samples with fewer positions than units; products per sample would be thin in both directions (docs/decisions.md).
 */
type Form = "unitsLast" | "positionsLast" | "gathered";

export class ResponseMatrix {
  /** The response, with units and rows where products read them. */
  readonly value: Typed;
  readonly #g: Emit;
  readonly #response: Typed;
  readonly #layout: ResponseLayout;
  readonly #form: Form;

  /** @param response - float32 or float64 */
  constructor(layout: ResponseLayout, response: Typed, g: Emit) {
    this.#g = g;
    this.#response = response;
    this.#layout = layout;
    this.#form = formOf(layout, response);
    this.value = this.#arranged();
  }

  /** All axes of {@link value} except those of the units and groups. */
  get rowAxes(): number[] {
    const { unitAxis, groups } = this.#layout;
    const { shape } = this.value;
    const first = { unitsLast: shape.length - 1, positionsLast: unitAxis, gathered: 0 }[this.#form];
    const own = groups === 1 ? [first] : [first, first + 1];
    return shape.flatMap((_, axis) => (own.includes(axis) ? [] : [axis]));
  }

  /** The number of rows; a scalar in the value's type if it is not fixed. */
  rows(fixed: boolean): Typed | number {
    const g = this.#g;
    const { shape, type } = this.value;
    if (fixed) return elementCount(shape) / this.#layout.units;
    const size = g.cast(g.op("Size", [this.value], [], { type: "int64" }), type);
    return g.div(size, this.#layout.units);
  }

  /** Σ TTᵀ over the rows of T, which has the layout of {@link value}: [k, k] or [groups, k/groups, k/groups]. */
  gram(t: Typed): Typed {
    const g = this.#g;
    if (this.#form === "unitsLast") return this.#gramOfColumns(t);
    const { unitAxis, groups } = this.#layout;
    const samples = this.#form === "positionsLast" ? elementCount(t.shape.slice(0, unitAxis)) : 1;
    if (samples > 1) {
      const lead = Array.from({ length: unitAxis }, (_, axis) => axis);
      return g.reduceSum(g.matMul(t, g.transposeLast(t)), lead);
    }
    const rows = this.#form === "positionsLast" ? this.#gathered(t) : t;
    return groups === 1 ? g.gemm(rows, rows, { transB: true }) : g.matMul(rows, g.transposeLast(rows));
  }

  /** A symmetric matrix with the shape of {@link gram}, times each row of T; in the layout of {@link value}. */
  times(matrix: Typed, t: Typed): Typed {
    return this.#form === "unitsLast" ? this.#g.matMul(t, matrix) : this.#g.matMul(matrix, t);
  }

  /** Converts from the layout of {@link value} to the response's own. */
  back(t: Typed): Typed {
    const { shape } = this.#response;
    const { unitAxis } = this.#layout;
    if (sameShape(t.shape, shape) && (this.#form !== "gathered" || unitAxis === 0)) return t;
    const placed = this.#form === "gathered" && unitAxis > 0 ? this.#scattered(t) : t;
    if (placed.shape.length === shape.length && this.#layout.groups === 1) return placed;
    return reshapeToResponse(this.#g, placed, this.#response, this.#layout);
  }

  /** One row per unit: [k, rows], or [groups, k/groups, rows]. */
  byUnit(): Typed {
    if (this.#form === "gathered") return this.value;
    if (this.#form === "positionsLast") return this.#gathered(this.value);
    const { units } = this.#layout;
    const rows = elementCount(this.value.shape) / units;
    return this.#g.transpose(this.#g.reshapeAs(this.value, [-1, units], [rows, units]));
  }

  #arranged(): Typed {
    const { units, unitAxis } = this.#layout;
    const { shape } = this.#response;
    if (this.#form !== "unitsLast") {
      const merged = this.#mergePositions();
      return this.#form === "gathered" ? this.#gathered(merged) : merged;
    }
    if (unitAxis === shape.length - 1) return this.#response;
    return this.#g.reshapeAs(this.#response, [-1, units], [elementCount(shape) / units, units]);
  }

  /** Y [N…, k, H, W] as [N…, k, H·W] or [N…, groups, k/groups, H·W], for any batch. */
  #mergePositions(): Typed {
    const { groups, unitAxis } = this.#layout;
    const { shape } = this.#response;
    if (groups === 1 && unitAxis === shape.length - 2) return this.#response;
    const channels = this.#channels();
    const lead = shape.slice(0, unitAxis);
    const positions = elementCount(shape.slice(unitAxis + 1));
    const code = [...lead.map(() => 0), ...channels, -1];
    return this.#g.reshapeAs(this.#response, code, [...lead, ...channels, positions]);
  }

  /** [k], or [groups, k/groups]. */
  #channels(): number[] {
    const { units, groups } = this.#layout;
    return groups === 1 ? [units] : [groups, units / groups];
  }

  /** The Gram matrix of T […, k]. */
  #gramOfColumns(t: Typed): Typed {
    const units = t.shape.at(-1) ?? 0;
    const rows = elementCount(t.shape) / units;
    const flat = t.shape.length === 2 ? t : this.#g.reshapeAs(t, [-1, units], [rows, units]);
    return this.#g.gemm(flat, flat, { transA: true });
  }

  /** From [N…, k, L] to [k, N…·L]; with groups first, if there are any. */
  #gathered(t: Typed): Typed {
    const { unitAxis } = this.#layout;
    if (unitAxis === 0) return t;
    const lead = Array.from({ length: unitAxis }, (_, axis) => axis);
    const channels = this.#channels();
    const samples = elementCount(t.shape.slice(0, unitAxis));
    const positions = t.shape.at(-1) ?? 0;
    const order = [...channels.map((_, i) => unitAxis + i), ...lead, t.shape.length - 1];
    const rows = [...channels, samples * positions];
    return this.#g.reshapeAs(this.#g.transpose(t, order), [...channels, -1], rows);
  }

  /** From [k, N·L] back to [N, k, L]. */
  #scattered(t: Typed): Typed {
    const channels = this.#channels();
    const { shape } = this.#response;
    const [samples, positions] = [shape[0] ?? 1, elementCount(shape.slice(2))];
    const parts = this.#g.reshapeAs(t, [...channels, -1, positions], [...channels, samples, positions]);
    const own = channels.map((_, i) => i);
    return this.#g.transpose(parts, [channels.length, ...own, channels.length + 1]);
  }
}

function formOf({ units, groups, unitAxis, freeAxes = [] }: ResponseLayout, { shape }: Typed): Form {
  const behind = shape.slice(unitAxis + 1);
  // The form must not depend on free lengths, so these count as large.
  const open = freeAxes.some((axis) => axis > unitAxis);
  const positions = elementCount(behind);
  if (behind.length === 0 || (unitAxis === 1 && groups === 1 && positions === 1 && !open)) return "unitsLast";
  if (unitAxis === 0) return "gathered";
  const samples = elementCount(shape.slice(0, unitAxis));
  return samples === 1 || open || unitAxis > 1 || positions >= units / groups ? "positionsLast" : "gathered";
}

/** Reshapes a value that has the response's elements in the same order to the response's shape, for any lengths of free axes. */
export function reshapeToResponse(
  g: Emit,
  t: Typed,
  response: Typed,
  { unitAxis, freeAxes = [] }: ResponseLayout,
): Typed {
  const { shape } = response;
  // Reshape can infer one length (−1) and copy the lengths in front of it (0).
  const open = unitAxis === shape.length - 1 ? 1 : unitAxis + 1;
  if (freeAxes.some((axis) => axis > open)) return reshapeLike(g, t, response);
  const code = shape.map((dim, axis) => (axis < Math.min(open, unitAxis) ? 0 : dim));
  code[open] = -1;
  return g.reshapeAs(t, code, shape);
}

/** Reshapes a value to the shape that another one has at run time. */
export const reshapeLike = (g: Emit, t: Typed, other: Typed): Typed =>
  g.op("Reshape", [t, g.op("Shape", [other], [other.shape.length], { type: "int64" })], other.shape);
