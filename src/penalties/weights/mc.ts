import { eachProduct, weightedSums } from "../block-products.ts";
import { definePenalty } from "../define.ts";
import { ofWeights, withGradient } from "../plain-math.ts";
import { scaled } from "../scaled.ts";
import { meanOfGroupSums, penaltyOfGram } from "../weight-penalty.ts";

/**
 * Mutual coherence: the entry of WWᵀ that is furthest from the identity's.
 *
 *     R = ‖WWᵀ − I‖∞ = max |⟨wᵢ, wⱼ⟩ − δᵢⱼ|
 *
 * If several entries are largest (ij and ji always are), the gradient is their mean.
 * Source: Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (6); λ = 0.1 there.
 */
export const mc = definePenalty({
  name: "mc",
  summary: "the worst pair of weight vectors",
  formula: "max |WWᵀ − I|",
  source: "Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (6); λ from 0.1 on, sect. 4.1",
  defaults: {},
  on: "weights",
  weight: 0.1,
  build: (layer) => {
    const { groups } = layer.site;
    return penaltyOfGram(layer, "units", (g, gram) => {
      const excess = g.sub(gram, g.identityMatrix(gram.shape.at(-1) ?? 0, gram.type));
      const size = g.abs(excess);
      const inGroup = [-2, -1];
      // A mask picks the largest entries, because ONNX Runtime's training API has no gradient of ReduceMax.
      const largest = g.indicator(g.equal(size, g.reduceMax(size, inGroup, true)), gram.type);
      const share = g.div(largest, g.reduceSum(largest, inGroup, true));
      return {
        value: meanOfGroupSums(g, g.mul(share, size), groups),
        pull: () => {
          const positive = g.indicator(g.greater(excess, 0), gram.type);
          const sign = g.sub(g.mul(positive, 2), 1);
          // The products ij and ji of a pair may differ by rounding; then only one is largest.
          const slope = scaled(g, g.mul(share, sign), 1 / groups);
          return g.add(slope, g.transposeLast(slope));
        },
      };
    });
  },
  reference: (layer) =>
    ofWeights(layer, (rows) => {
      const excess = (product: number, i: number, j: number) => product - (i === j ? 1 : 0);
      let [largest, count] = [0, 0];
      eachProduct(rows, (product, i, j) => {
        const size = Math.abs(excess(product, i, j));
        if (size > largest) count = 0;
        largest = Math.max(largest, size);
        if (size === largest) count += i === j ? 1 : 2;
      });
      return withGradient(largest, () =>
        weightedSums(rows, (product, i, j) => {
          const entry = excess(product, i, j);
          return Math.abs(entry) === largest ? (2 * Math.sign(entry)) / count : 0;
        }),
      );
    }),
});
