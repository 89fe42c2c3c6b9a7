import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { PenaltyLayer } from "./layer.ts";
import type { PenaltyGraph } from "./penalty.ts";
import { scaledBy } from "./scaled.ts";
import { type GramSide, WeightMatrix } from "./weight-matrix.ts";

/** A function of the products of a layer's vectors. */
interface OfGram {
  readonly value: Typed;
  /** P with ∂value/∂V = P·V, where each row of V is a vector: symmetric, twice ∂value/∂gram; built when called. */
  readonly pull: () => Typed;
}

/**
 * A penalty on the products of a layer's weight vectors, with its gradient in closed form. That takes one product where the
 * reverse walk would write two, and no transposed copies.
 */
export function penaltyOfGram(
  { site, weight, g }: PenaltyLayer,
  side: GramSide,
  of: (g: Emit, gram: Typed) => OfGram,
): PenaltyGraph {
  const matrix = new WeightMatrix(site, weight, g);
  const { value, pull } = of(g, matrix.gram(side));
  const weighted = (factor?: Typed): Typed => (factor ? scaledBy(g, pull(), factor) : pull());
  return {
    value,
    slopes: [{ of: weight, gradient: (factor) => matrix.fromPull(weighted(factor), side) }],
  };
}

/** Σ x over all elements, divided by the number of groups: the mean of the groups' sums. */
export const meanOfGroupSums = (g: Emit, x: Typed, groups: number): Typed => {
  const sum = g.reduceSum(x, undefined, false, true);
  return groups === 1 ? sum : g.mul(sum, 1 / groups);
};
