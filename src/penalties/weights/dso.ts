import { definePenalty } from "../define.ts";
import { excessSquares, mapped, ofWeights, transposed, withGradient } from "../plain-math.ts";
import { scaled } from "../scaled.ts";
import { penaltyOfGram } from "../weight-penalty.ts";
import { excessOfIdentity, smallerSide } from "./excess.ts";

/**
 * Double soft orthogonality: for both rows and columns of the weight matrix.
 *
 *     R = ‖WᵀW − I‖² + ‖WWᵀ − I‖² = 2·SO + d − k
 *
 * The two terms differ by the constant d − k, so the gradient is twice that of SO for every shape.
 * Source: Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (4); λ = 0.1 there.
 */
export const dso = definePenalty({
  name: "dso",
  summary: "weight matrix orthogonal on both sides; its gradient is twice that of so",
  formula: "‖WᵀW − I‖² + ‖WWᵀ − I‖²",
  source: "Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (4); λ from 0.1 on, sect. 4.1",
  defaults: {},
  on: "weights",
  weight: 0.1,
  build: (layer) => {
    const { units, fanIn, groups, side } = smallerSide(layer.site);
    return penaltyOfGram(layer, side, (g, gram) => {
      const { squares, pull } = excessOfIdentity(g, gram, groups);
      return {
        value: g.add(g.mul(squares, 2), Math.abs(units - fanIn)),
        pull: () => scaled(g, pull(), 2),
      };
    });
  },
  reference: (layer) =>
    ofWeights(layer, (rows) => {
      const ofUnits = excessSquares(rows);
      const ofInputs = excessSquares(transposed(rows));
      return withGradient(ofUnits.value + ofInputs.value, () => {
        const back = transposed(ofInputs.gradient);
        return mapped(ofUnits.gradient, (slope, i, j) => slope + (back[i]?.[j] ?? 0));
      });
    }),
});
