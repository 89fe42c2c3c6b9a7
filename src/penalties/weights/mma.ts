import { arcsine, arcsineSlope } from "../arcsine.ts";
import { cosinesOf } from "../cosines.ts";
import { definePenalty } from "../define.ts";
import { dot, normalized, ofWeights, throughNorm } from "../plain-math.ts";
import { meanOfGroupSums, penaltyOfGram } from "../weight-penalty.ts";

/** The published code clamps cosines to ±0.99999: closer vectors have the angle of that, and no gradient. */
const most = 0.99999;

/** PyTorch's `normalize` divides by no norm below 1e-12. */
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
      // Neighbours are picked by a mask: official training has no gradient of ReduceMax.
      const nearest = g.indicator(g.equal(apart, g.reduceMax(apart, [-1], true)), type);
      const share = g.div(nearest, g.reduceSum(nearest, [-1], true));
      const cosine = g.reduceSum(g.mul(share, cosines.value), [-1], true);
      const angle = g.sub(Math.PI / 2, arcsine(g, cosine, most));
      return {
        value: g.mul(meanOfGroupSums(g, angle, groups), -1 / units),
        // −d arccos c = dc/√(1 − c²), 0 where clamped; row i's neighbour feels row i.
        pull: () => {
          const slope = g.mul(g.mul(arcsineSlope(g, cosine, most), share), 1 / units / groups);
          return cosines.pull(g.add(slope, g.transposeLast(slope)));
        },
      };
    });
  },
  reference: (layer) => ({
    ...ofWeights(layer, (rows) => {
      const { directions, norms } = normalized(rows, normalization);
      const toDirections = directions.map((direction) => direction.map(() => 0));
      let angles = 0;
      directions.forEach((own, i) => {
        const cosines = directions.map((other, j) => (i === j ? Number.NEGATIVE_INFINITY : dot(own, other)));
        const largest = cosines.reduce((a, b) => Math.max(a, b), -1);
        const nearest = cosines.flatMap((cosine, j) => (cosine === largest ? [j] : []));
        const clamped = Math.min(Math.max(largest, -most), most);
        angles += Math.acos(clamped);
        if (Math.abs(largest) >= most) return;
        const slope = 1 / Math.sqrt(1 - clamped ** 2) / nearest.length / rows.length;
        for (const j of nearest) {
          const other = directions[j] ?? [];
          for (let c = 0; c < own.length; c++) {
            (toDirections[i] as number[])[c] = (toDirections[i]?.[c] ?? 0) + slope * (other[c] ?? 0);
            (toDirections[j] as number[])[c] = (toDirections[j]?.[c] ?? 0) + slope * (own[c] ?? 0);
          }
        }
      });
      return {
        value: -angles / rows.length,
        gradient: toDirections.map((slope, i) => throughNorm(slope, directions[i] ?? [], norms[i] ?? 0)),
      };
    }),
    notIntegrated: "its gradient jumps wherever another neighbour becomes the nearest",
  }),
});
