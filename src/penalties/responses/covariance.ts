import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { numeric, type PenaltyLayer } from "../layer.ts";
import type { PenaltyGraph } from "../penalty.ts";
import { type Matrix, type PenaltyReference, type PlainLayer, unitsOf } from "../plain-layer.ts";
import { byGroups, pairSums, sum, transposed, type ValueAndGradient, withGradient } from "../plain-math.ts";
import { ResponseMatrix } from "../response-matrix.ts";
import { ofShard, scaled, scaledBy } from "../scaled.ts";

/** A function of the covariances of a layer's units. */
interface OfCovariances {
  readonly value: Typed;
  /** Symmetric P with ∂value/∂Z = P·Z, where Z holds the centred responses, one row per unit; built when called. */
  readonly pull: () => Typed;
}

/**
 * A penalty on the products of a layer's centred responses, [units, units] or [groups, units/groups, units/groups], and on
 * the number of rows. The gradient with respect to centred responses is a matrix times these responses, so its mean is 0 and
 * it is also the gradient with respect to the responses themselves.
 */
export function penaltyOfCovariances(
  { site, response, g }: PenaltyLayer,
  of: (g: Emit, products: Typed, rows: Typed | number) => OfCovariances,
): PenaltyGraph {
  const matrix = new ResponseMatrix(site, numeric(g, response), g);
  const mean = g.overShards(g.reduceMean(matrix.value, matrix.rowAxes, true), "mean");
  const centred = g.sub(matrix.value, mean);
  const products = g.overShards(matrix.gram(centred), "sum");
  const rows = matrix.rows(site.rowsFixed);
  const { value, pull } = of(g, products, typeof rows === "number" ? rows * g.shards : rows);
  return {
    value,
    slopes: [
      {
        of: response,
        gradient: (factor) => {
          const whole = ofShard(g, factor);
          const weighted = whole ? scaledBy(g, pull(), whole) : pull();
          return g.cast(matrix.back(matrix.times(weighted, centred)), response.type);
        },
      },
    ],
  };
}

/**
 * factor · Σ over i≠j of C²ᵢⱼ, summed over groups, with C = products/(rows − less): all numbers are in one factor, so that
 * matrices of units by units are read and written as rarely as possible.
 */
export function offDiagonalCovariances(
  g: Emit,
  products: Typed,
  rows: Typed | number,
  { less = 0, factor }: { readonly less?: number; readonly factor: number },
): OfCovariances {
  const apart = g.mul(products, g.offDiagonal(products.shape.at(-1) ?? 0, products.type));
  const sum = g.reduceSum(g.square(apart), undefined, false, true);
  if (typeof rows === "number") {
    const whole = factor / (rows - less) ** 2;
    return { value: g.mul(sum, whole), pull: () => scaled(g, apart, 4 * whole) };
  }
  const whole = g.div(factor, g.square(less === 0 ? rows : g.sub(rows, less)));
  return { value: g.mul(sum, whole), pull: () => scaledBy(g, apart, g.mul(whole, 4)) };
}

/** x divided by the number of rows. */
export const overRows = (g: Emit, x: Typed, rows: Typed | number): Typed =>
  typeof rows === "number" ? scaled(g, x, 1 / rows) : g.div(x, rows);

/** `of` applied to each group's centred units, as the mean over groups, with its gradient `[row][unit]`, in float64. */
export function plainCovariances(
  layer: PlainLayer,
  of: (vectors: Matrix) => ValueAndGradient,
): PenaltyReference {
  const whole = byGroups(unitsOf(layer), layer.groups, (units) => {
    const result = of(units.map(withoutMean));
    return withGradient(result.value, () => result.gradient.map(withoutMean));
  });
  return withGradient(whole.value, () => ({ responses: transposed(whole.gradient) }));
}

function withoutMean(numbers: readonly number[]): number[] {
  const mean = sum(numbers) / numbers.length;
  return numbers.map((number) => number - mean);
}

/** factor · Σ over i≠j of ⟨vᵢ, vⱼ⟩², and its gradient. */
export function offDiagonalSquares(vectors: Matrix, factor: number): ValueAndGradient {
  const { squares, gradient } = pairSums(vectors);
  return withGradient(factor * squares, () => gradient(0, factor));
}
