import { definePenalty } from "../define.ts";
import { fromGram, ofWeights } from "../plain-math.ts";
import { scaled } from "../scaled.ts";
import { meanOfGroupSums, penaltyOfGram } from "../weight-penalty.ts";

/**
 * Only off the diagonal: pushes weight vectors to right angles, whatever their length.
 *
 *     R = ‖WWᵀ ∘ (1 − I)‖²
 *
 * Source: Brock, Donahue, Simonyan 2019 (arXiv 1809.11096), eq. (3), β = 1e-4. The published code (BigGAN-PyTorch, `ortho`)
 * adds 2·(WWᵀ ∘ (1 − I))·W to the gradient, half the gradient of the formula, so its strength of 1e-4 is a weight of 5e-5 here.
 */
export const biggan = definePenalty({
  name: "biggan",
  summary: "weight vectors at right angles, of any length",
  formula: "‖WWᵀ ∘ (1 − I)‖²",
  source:
    "Brock, Donahue, Simonyan 2019 (arXiv 1809.11096), eq. (3), β = 1e-4; the published code adds half of its gradient",
  defaults: {},
  on: "weights",
  weight: 1e-4,
  build: (layer) => {
    const { groups } = layer.site;
    return penaltyOfGram(layer, "units", (g, gram) => {
      const products = g.mul(gram, g.offDiagonal(gram.shape.at(-1) ?? 0, gram.type));
      return {
        value: meanOfGroupSums(g, g.square(products), groups),
        pull: () => scaled(g, products, 4 / groups),
      };
    });
  },
  reference: (layer) =>
    ofWeights(layer, (rows) =>
      fromGram(rows, (product, i, j) =>
        i === j ? { value: 0, slope: 0 } : { value: product ** 2, slope: 2 * product },
      ),
    ),
});
