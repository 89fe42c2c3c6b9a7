import { definePenalty } from "../define.ts";
import { drawn } from "../draws.ts";
import { byGroups, gramOf, mapped, product } from "../plain-math.ts";
import { scaled } from "../scaled.ts";
import { meanOfGroupSums, penaltyOfGram } from "../weight-penalty.ts";
import { smallerSide } from "./excess.ts";

/** Options of spectral-so. */
export type SpectralSoOptions = {
  /** Steps of the power iteration; 10. */
  readonly iterations: number;
  /** Seed of the vector that it starts from; 0. */
  readonly seed: number;
};

/** Keeps a division by the length of a vector finite where W is orthogonal already. */
const leastNorm = 1e-20;

/**
 * Soft orthogonality in the spectral norm: the largest deviation of a squared singular value from 1.
 *
 *     R = ‖WWᵀ − I‖₂² = ‖Au‖², A = WWᵀ − I or WᵀW − I (the smaller one)
 *
 * u is what a power iteration over A makes of a fixed random vector, of length 1. Its gradient 2·A·u·uᵀ takes u as constant,
 * which is exact for an eigenvector of A².
 * Source: the spectral form of arXiv 2001.01275, sect. 2 (after Yoshida, Miyato 2017).
 */
export const spectralSo = definePenalty<SpectralSoOptions>({
  name: "spectral-so",
  summary: "so in the spectral norm: the singular value that is furthest from 1",
  formula: "‖WWᵀ − I‖₂² = ‖Au‖², u by power iteration over A = WWᵀ − I (WᵀW − I where smaller)",
  source:
    "the spectral norm in arXiv 2001.01275, sect. 2; u counts as constant, as in spectral normalization",
  defaults: { iterations: 10, seed: 0 },
  about: { iterations: "steps of the power iteration", seed: "of the vector that it starts from" },
  on: "weights",
  weight: 0.1,
  problem: ({ iterations, seed }) => {
    if (!Number.isInteger(iterations) || iterations < 1)
      return `iterations must be a whole number of 1 or more, not ${iterations}`;
    return Number.isInteger(seed) && seed >= 0
      ? undefined
      : `seed must be a whole number of 0 or more, not ${seed}`;
  },
  build: (layer, { iterations, seed }) => {
    const { units, fanIn, groups, side } = smallerSide(layer.site);
    const size = Math.min(units, fanIn);
    return penaltyOfGram(layer, side, (g, gram) => {
      const start = layer.draw({ distribution: "sphere", shape: [1, size], seed, anew: "never" });
      const excess = g.sub(gram, g.identityMatrix(size, gram.type));
      const squaredLength = (x: typeof gram) => g.reduceSum(g.square(x), [-2], true);
      let u = g.reshape(g.cast(start, gram.type), [size, 1]);
      for (let i = 0; i < iterations; i++) {
        const moved = g.matMul(excess, u);
        u = g.div(moved, g.sqrt(g.max(squaredLength(moved), leastNorm)));
      }
      const moved = g.matMul(excess, u);
      return {
        value: meanOfGroupSums(g, g.square(moved), groups),
        // ∂R/∂A = 2·(Au)·uᵀ, made symmetric
        pull: () => {
          const outer = scaled(g, g.matMul(moved, g.transposeLast(u)), 2 / groups);
          return g.add(outer, g.transposeLast(outer));
        },
      };
    });
  },
  reference: ({ weights, groups }, { iterations, seed }) => {
    const { value, gradient } = byGroups(weights, groups, (rows) => {
      const fanIn = rows[0]?.length ?? 0;
      const vectors =
        fanIn < rows.length ? (rows[0]?.map((_, c) => rows.map((row) => row[c] ?? 0)) ?? []) : rows;
      const excess = mapped(gramOf(vectors), (entry, i, j) => entry - (i === j ? 1 : 0));
      const size = vectors.length;
      const start = drawn({ distribution: "sphere", shape: [1, size], seed, anew: "never" });
      const times = (x: readonly number[]) =>
        product(
          excess,
          x.map((entry) => [entry]),
        ).map(([y]) => y ?? 0);
      let u = Array.from(start);
      for (let i = 0; i < iterations; i++) {
        const moved = times(u);
        const norm = Math.sqrt(
          Math.max(
            moved.reduce((sum, y) => sum + y * y, 0),
            leastNorm,
          ),
        );
        u = moved.map((y) => y / norm);
      }
      const moved = times(u);
      const slopes = moved.map((y, i) => u.map((x, j) => 2 * y * x + 2 * (moved[j] ?? 0) * (u[i] ?? 0)));
      const toVectors = product(slopes, vectors);
      return {
        value: moved.reduce((sum, y) => sum + y * y, 0),
        gradient:
          vectors === rows ? toVectors : rows.map((_, r) => toVectors.map((column) => column[r] ?? 0)),
      };
    });
    return {
      ...{ value, gradient: { weights: gradient } },
      inexact: "the vector of the power iteration counts as constant",
    };
  },
});
