import type { Site } from "../analysis/site-types.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { elementCount } from "../onnx/tensor.ts";

/** Where the units are in a response. */
export type ResponseLayout = Pick<Site, "units" | "groups" | "unitAxis"> & Partial<Pick<Site, "freeAxes">>;

/**
 * A response in the layout for products: units last […, k], or followed by the merged positions [N…, k, L],
 * [N…, groups, k/groups, L]. The emitted nodes contain no length of a free axis.
 */
export class ResponseMatrix {
  readonly value: Typed;
  readonly #g: Emit;
  readonly #response: Typed;
  readonly #layout: ResponseLayout;
  readonly #unitsLast: boolean;

  /** @param response - float32 or float64 */
  constructor(layout: ResponseLayout, response: Typed, g: Emit) {
    this.#g = g;
    this.#response = response;
    this.#layout = layout;
    this.#unitsLast = layout.unitAxis === response.shape.length - 1;
    this.value = this.#unitsLast ? response : this.#mergePositions();
  }

  /** All axes of {@link value} except those of the units and groups. */
  get rowAxes(): number[] {
    const { unitAxis, groups } = this.#layout;
    const own = groups === 1 ? [unitAxis] : [unitAxis, unitAxis + 1];
    return this.value.shape.flatMap((_, axis) => (own.includes(axis) ? [] : [axis]));
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
    return this.#unitsLast ? this.#gramOfColumns(t) : this.#gramOfUnits(t);
  }

  /** A symmetric matrix with the shape of {@link gram}, times each row of T; in the layout of {@link value}. */
  times(matrix: Typed, t: Typed): Typed {
    return this.#unitsLast ? this.#g.matMul(t, matrix) : this.#g.matMul(matrix, t);
  }

  /** Converts from the layout of {@link value} to the response's own. */
  back(t: Typed): Typed {
    const { shape } = this.#response;
    const { groups } = this.#layout;
    if (this.#unitsLast || (t.shape.length === shape.length && groups === 1)) return t;
    return reshapeToResponse(this.#g, t, this.#response, this.#layout);
  }

  /** One row per unit: [k, rows], or [groups, k/groups, rows]. */
  byUnit(): Typed {
    if (!this.#unitsLast) return this.#gatherRows(this.value);
    const { units } = this.#layout;
    const rows = elementCount(this.value.shape) / units;
    return this.#g.transpose(this.#g.reshapeAs(this.value, [-1, units], [rows, units]));
  }

  /** Y [N…, k, H, W] as [N…, k, H·W] or [N…, groups, k/groups, H·W], for any batch. */
  #mergePositions(): Typed {
    const { units, groups, unitAxis } = this.#layout;
    const { shape } = this.#response;
    if (groups === 1 && unitAxis === shape.length - 2) return this.#response;
    const channels = groups === 1 ? [units] : [groups, units / groups];
    const lead = shape.slice(0, unitAxis);
    const positions = elementCount(shape.slice(unitAxis + 1));
    const code = [...lead.map(() => 0), ...channels, -1];
    return this.#g.reshapeAs(this.#response, code, [...lead, ...channels, positions]);
  }

  /** The Gram matrix of T […, k]. */
  #gramOfColumns(t: Typed): Typed {
    const units = t.shape.at(-1) ?? 0;
    const rows = elementCount(t.shape) / units;
    const flat = t.shape.length === 2 ? t : this.#g.reshapeAs(t, [-1, units], [rows, units]);
    return this.#g.gemm(flat, flat, { transA: true });
  }

  /** The Gram matrix of T [N…, k, L] or [N…, groups, k/groups, L]. */
  #gramOfUnits(t: Typed): Typed {
    const g = this.#g;
    const { groups, unitAxis, freeAxes = [] } = this.#layout;
    const [units, positions] = t.shape.slice(-2) as [number, number];
    const samples = elementCount(t.shape.slice(0, unitAxis));
    // The form must not depend on free lengths, so these count as large.
    const manyPositions = positions >= units || freeAxes.some((axis) => axis > unitAxis);
    // One product per sample writes N·k² numbers; gathering all rows of a unit first writes N·k·L.
    if (samples > 1 && manyPositions) {
      const lead = Array.from({ length: unitAxis }, (_, axis) => axis);
      return g.reduceSum(g.matMul(t, g.transposeLast(t)), lead);
    }
    const rows = this.#gatherRows(t);
    return groups === 1 ? g.gemm(rows, rows, { transB: true }) : g.matMul(rows, g.transposeLast(rows));
  }

  #gatherRows(t: Typed): Typed {
    const { unitAxis } = this.#layout;
    if (unitAxis === 0) return t;
    const lead = Array.from({ length: unitAxis }, (_, axis) => axis);
    const channels = t.shape.slice(unitAxis, -1);
    const samples = elementCount(t.shape.slice(0, unitAxis));
    const positions = t.shape.at(-1) ?? 0;
    const order = [...channels.map((_, i) => unitAxis + i), ...lead, t.shape.length - 1];
    const rows = [...channels, samples * positions];
    return this.#g.reshapeAs(this.#g.transpose(t, order), [...channels, -1], rows);
  }
}

/** Reshapes a value that has the response's elements in the same order to the response's shape, for any lengths of free axes. */
export function reshapeToResponse(
  g: Emit,
  t: Typed,
  response: Typed,
  { units, unitAxis, freeAxes = [] }: ResponseLayout,
): Typed {
  const { shape } = response;
  // Reshape can infer one length (−1) and copy the lengths in front of it (0).
  const open = unitAxis === shape.length - 1 ? 1 : unitAxis + 1;
  if (freeAxes.some((axis) => axis > open)) {
    const lengths = g.op("Shape", [response], [shape.length], { type: "int64" });
    return g.op("Reshape", [t, lengths], shape);
  }
  const code = shape.map((dim, axis) =>
    axis < Math.min(open, unitAxis) ? 0 : axis === unitAxis ? units : dim,
  );
  code[open] = -1;
  return g.reshapeAs(t, code, shape);
}
