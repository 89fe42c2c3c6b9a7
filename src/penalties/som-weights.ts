import { arcsine, arcsineSlope } from "./arcsine.ts";
import { cosinesOf } from "./cosines.ts";
import type { PenaltyLayer } from "./layer.ts";
import type { PenaltyGraph } from "./penalty.ts";
import { coefficients } from "./som-graph.ts";
import { type SomOptions, weightNormalization } from "./som-options.ts";
import { penaltyOfGram } from "./weight-penalty.ts";

/**
 * SOM of the exact angles θ between the units' weights: ϑ = 1 − 2θ/π = (2/π)·asin c, with c their cosine. This is the limit of
 * ϑ for sign responses to many random directions.
 */
export function somOfWeights(layer: PenaltyLayer, options: SomOptions): PenaltyGraph {
  const { groups, units } = layer.site;
  const c = coefficients(options, units / groups, groups);
  return penaltyOfGram(layer, "units", (g, gram) => {
    const cosines = cosinesOf(g, gram, weightNormalization);
    const { value: cosine } = cosines;
    const mask = g.offDiagonal(units / groups, cosine.type);
    const angles = g.mul(g.mul(arcsine(g, cosine), mask), 2 / Math.PI);
    const inGroup = [-2, -1];
    const total = g.reduceSum(angles, inGroup, true);
    const squares = g.reduceSum(g.square(angles), inGroup, true);
    return {
      value: g.reduceSum(g.add(g.mul(g.square(total), c.mean), g.mul(squares, c.square))),
      // ∂R/∂ϑ = 2·c.mean·s + 2·c.square·ϑ off the diagonal, dϑ/dc = (2/π)/√(1 − c²). Every pair occurs twice.
      pull: () => {
        const toAngles = g.add(g.mul(angles, 4 * c.square), g.mul(total, 4 * c.mean));
        const toCosines = g.mul(g.mul(toAngles, mask), g.mul(arcsineSlope(g, cosine), 2 / Math.PI));
        return cosines.pull(toCosines);
      },
    };
  });
}
