import { arcsine, arcsineSlope } from "../arcsine.ts";
import { eachProduct } from "../block-products.ts";
import { cosinesOf } from "../cosines.ts";
import { definePenalty } from "../define.ts";
import { normalized, ofWeights, sum, throughNorm, withGradient } from "../plain-math.ts";
import { meanOfGroupSums, penaltyOfGram } from "../weight-penalty.ts";

/** The published code clamps cosines to ±0.99999: closer vectors get that angle and no gradient. */
const most = 0.99999;

/** PyTorch's `normalize` replaces norms below 1e-12 by 1e-12. */
const normalization = { added: 0, least: 1e-24 } as const;

/**
 * Maximizes the minimal angles: each weight vector moves away from its nearest neighbour.
 *
 *     R = −mean over i of arccos(max over j≠i of cᵢⱼ)
 *
 * Source: Wang et al. 2020 (arXiv 2006.06527), eq. (5), as in its code (wznpub/MMA_Regularization), whose coefficient is 0.07,
 * and 0.03 for networks with skip connections.
 */
export const mma = definePenalty({
  name: "mma",
  summary: "each weight vector moves away from its nearest neighbour (maximizing the minimal angle)",
  formula: "−mean over i of arccos(max over j≠i of cᵢⱼ)",
  source:
    "Wang et al. 2020 (arXiv 2006.06527), as in its code (wznpub/MMA_Regularization): 0.07, 0.03 with skip connections; cosines clamped to ±0.99999",
  defaults: {},
  on: "weights",
  weight: 0.07,
  build: (layer) => {
    const { groups, units: all } = layer.site;
    const units = all / groups;
    return penaltyOfGram(layer, "units", (g, gram) => {
      const { type } = gram;
      const cosines = cosinesOf(g, gram, normalization);
      const apart = g.sub(cosines.value, g.mul(g.identityMatrix(units, type), 3));
      // A mask picks the neighbours, because ONNX Runtime's training API has no gradient of ReduceMax.
      const nearest = g.indicator(g.equal(apart, g.reduceMax(apart, [-1], true)), type);
      const share = g.div(nearest, g.reduceSum(nearest, [-1], true));
      const cosine = g.reduceSum(g.mul(share, cosines.value), [-1], true);
      const angle = g.sub(Math.PI / 2, arcsine(g, cosine, most));
      return {
        value: g.mul(meanOfGroupSums(g, angle, groups), -1 / units),
        // −d arccos c = dc/√(1 − c²), 0 where clamped; row i's neighbour gets a gradient from row i too.
        pull: () => {
          const slope = g.mul(g.mul(arcsineSlope(g, cosine, most), share), 1 / units / groups);
          return cosines.pull(g.add(slope, g.transposeLast(slope)));
        },
      };
    });
  },
  reference: (layer) =>
    ofWeights(layer, (rows) => {
      const { directions, norms } = normalized(rows, normalization);
      const largest = directions.map(() => -1);
      const nearest = directions.map((): number[] => []);
      const meet = (i: number, j: number, cosine: number) => {
        const own = nearest[i] as number[];
        if (cosine > (largest[i] as number)) own.length = 0;
        if (cosine >= (largest[i] as number)) own.push(j);
        largest[i] = Math.max(largest[i] as number, cosine);
      };
      eachProduct(directions, (cosine, i, j) => {
        if (i === j) return;
        meet(i, j, cosine);
        meet(j, i, cosine);
      });
      const clamped = largest.map((cosine) => Math.min(Math.max(cosine, -most), most));
      const value = -sum(clamped.map(Math.acos)) / rows.length;
      return withGradient(value, () => {
        const toDirections = directions.map((direction) => direction.map(() => 0));
        const add = (i: number, slope: number, j: number) => {
          const target = toDirections[i] as number[];
          directions[j]?.forEach((z, c) => {
            target[c] = (target[c] ?? 0) + slope * z;
          });
        };
        clamped.forEach((cosine, i) => {
          if (Math.abs(cosine) >= most) return;
          const own = nearest[i] as number[];
          const slope = 1 / Math.sqrt(1 - cosine ** 2) / own.length / rows.length;
          for (const j of own) {
            add(i, slope, j);
            add(j, slope, i);
          }
        });
        return toDirections.map((slope, i) => throughNorm(slope, directions[i] ?? [], norms[i] ?? 0));
      });
    }),
});
