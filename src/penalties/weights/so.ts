import { definePenalty } from "../define.ts";
import { excessSquares, ofWeights } from "../plain-math.ts";
import { penaltyOfGram } from "../weight-penalty.ts";
import { excessOfIdentity, smallerSide } from "./excess.ts";

/**
 * Soft orthogonality: compares the products of a layer's weight vectors with the identity.
 *
 *     R = ‖WWᵀ − I‖²
 *
 * with one row of W per unit. It is computed from the products [k, k] or, if units have fewer inputs than the layer has units,
 * from [d, d]: ‖WWᵀ − I‖² = ‖WᵀW − I‖² + k − d.
 * Source: Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (2), which writes WᵀW for one column per unit; λ = 0.1 there.
 */
export const so = definePenalty({
  name: "so",
  summary: "weight vectors of length 1 at right angles",
  formula: "‖WWᵀ − I‖²",
  source: "Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (2); λ from 0.1 on, sect. 4.1",
  defaults: {},
  on: "weights",
  weight: 0.1,
  build: (layer) => {
    const { units, fanIn, groups, side } = smallerSide(layer.site);
    return penaltyOfGram(layer, side, (g, gram) => {
      const { squares, pull } = excessOfIdentity(g, gram, groups);
      return { value: fanIn < units ? g.add(squares, units - fanIn) : squares, pull };
    });
  },
  reference: (layer) => ofWeights(layer, excessSquares),
});
