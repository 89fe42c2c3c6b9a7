import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { leastSquaredDistance } from "../arcsine.ts";
import { cosinesOf } from "../cosines.ts";
import { definePenalty } from "../define.ts";
import { fromCosines, ofWeights } from "../plain-math.ts";
import { meanOfGroupSums, penaltyOfGram } from "../weight-penalty.ts";

/** Options of minimum hyperspherical energy. */
export type MheOptions = {
  /** Power of the distance between directions: 0 (default: the logarithm), 1 or 2. */
  readonly s: number;
  /** Whether a vector stands for its line, so that its negative repels too (half-space MHE); default false. */
  readonly half: boolean;
};

/** The published code adds 1e-4 to every squared norm. */
const normalization = { added: 1e-4, least: -1 } as const;

/**
 * Minimum hyperspherical energy: the directions of weight vectors repel each other like charges on a sphere.
 *
 *     R = mean f(‖ŵᵢ − ŵⱼ‖²), i≠j, f(z) = −log z (s = 0), z^(−s/2) (s = 1, 2)
 *
 * with ‖ŵᵢ − ŵⱼ‖² = 2 − 2cᵢⱼ; the half-space form uses the 2k vectors ±wᵢ.
 * Source: Liu et al. 2018 (arXiv 1805.09298), eq. (1) to (4), as its published code computes it (wy1iu/MHE): the mean over
 * pairs, 1e-4 added to squared norms, weight 1 for hidden layers and 10 for the last. For s = 0 that code is twice the
 * paper's log(1/z). Vectors whose squared distance float32 cannot distinguish from 0 (`leastSquaredDistance`) get the energy
 * of that distance and no slope; the gradient of the published code consists of rounding errors there.
 */
export const mhe = definePenalty<MheOptions>({
  name: "mhe",
  summary: "directions of weight vectors repel each other (minimum hyperspherical energy)",
  formula: "mean f(2 − 2cᵢⱼ), i≠j; f(z) = −log z, z^−½ or z^−1 for s = 0, 1, 2",
  source:
    "Liu et al. 2018 (arXiv 1805.09298), as in its code (wy1iu/MHE), which for s = 0 is twice the paper's; weight 1, 10 for the last layer. Squared norms get 1e-4 more, and squared distances below 1e-4 count as 1e-4",
  defaults: { s: 0, half: false },
  about: { s: "power of the distance: 0 (logarithm), 1 or 2", half: "negatives repel too (half-space)" },
  on: "weights",
  problem: ({ s }) => ([0, 1, 2].includes(s) ? undefined : `s must be 0, 1 or 2, not ${s}`),
  build: (layer, { s, half }) => {
    const { groups, units: all } = layer.site;
    const units = all / groups;
    return penaltyOfGram(layer, "units", (g, gram) => {
      const cosines = cosinesOf(g, gram, normalization);
      const { type } = gram;
      const mask = g.offDiagonal(units, type);
      // Add 1 on the diagonal, where a vector meets itself: f(1) is finite, and masked later.
      const near = g.add(g.mul(g.sub(1, cosines.value), 2), g.identityMatrix(units, type));
      const far = half ? g.mul(g.add(cosines.value, 1), 2) : undefined;
      const count = half ? units * (2 * units - 1) : units * (units - 1);
      const attracted = g.mul(energy(g, near, s), mask);
      const whole = far ? g.add(attracted, energy(g, far, s)) : attracted;
      return {
        value: g.mul(meanOfGroupSums(g, whole, groups), 1 / count),
        // d(2 − 2c) = −2 dc, d(2 + 2c) = 2 dc, and twice for a symmetric slope
        pull: () => {
          const toNear = g.mul(energySlope(g, near, s), mask);
          const slope = far ? g.sub(energySlope(g, far, s), toNear) : g.neg(toNear);
          return cosines.pull(g.mul(slope, 4 / count / groups));
        },
      };
    });
  },
  reference: (layer, { s, half }) => {
    const term = (distance: number) => {
      const z = Math.max(distance, leastSquaredDistance);
      const apart = distance > leastSquaredDistance ? 1 : 0;
      if (s === 0) return { value: -Math.log(z), slope: -apart / z };
      return { value: z ** (-s / 2), slope: apart * (-s / 2) * z ** (-s / 2 - 1) };
    };
    return ofWeights(layer, (rows) => {
      const { length } = rows;
      const count = half ? length * (2 * length - 1) : length * (length - 1);
      return fromCosines(rows, normalization, (cosine, i, j) => {
        const near = i === j ? { value: 0, slope: 0 } : term(2 - 2 * cosine);
        const far = half ? term(2 + 2 * cosine) : { value: 0, slope: 0 };
        return { value: (near.value + far.value) / count, slope: (2 * far.slope - 2 * near.slope) / count };
      });
    });
  },
});

/** f(z), with z at least what float32 resolves. */
function energy(g: Emit, distance: Typed, s: number): Typed {
  const z = g.max(distance, leastSquaredDistance);
  if (s === 0) return g.neg(g.log(z));
  return g.reciprocal(s === 1 ? g.sqrt(z) : z);
}

/** f′(z) = −1/z, −½ z^(−3/2) or −z⁻², and 0 below what float32 resolves. */
function energySlope(g: Emit, distance: Typed, s: number): Typed {
  const apart = g.indicator(g.greater(distance, leastSquaredDistance), distance.type);
  const inverse = g.mul(g.reciprocal(g.max(distance, leastSquaredDistance)), apart);
  if (s === 0) return g.neg(inverse);
  return s === 1 ? g.mul(g.mul(inverse, g.sqrt(inverse)), -0.5) : g.neg(g.square(inverse));
}
