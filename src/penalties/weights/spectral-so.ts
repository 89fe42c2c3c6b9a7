import { definePenalty, notWhole } from "../define.ts";
import { type PowerIteration, plainPowerIteration, powerIteration } from "./power-iteration.ts";

/** Options of spectral-so. */
export type SpectralSoOptions = {
  /** Steps of the power iteration; default 10. */
  readonly iterations: number;
  /** Seed of the vector that it starts from; default 0. */
  readonly seed: number;
};

const iterationOf = ({ iterations, seed }: SpectralSoOptions): PowerIteration => ({
  iterations,
  start: { distribution: "sphere", seed, anew: "never" },
});

/**
 * Soft orthogonality in the spectral norm: the square of the largest deviation of a squared singular value from 1.
 *
 *     R = ‖WWᵀ − I‖₂² = ‖Au‖², A = WWᵀ − I or WᵀW − I (the smaller one)
 *
 * u, of length 1, is the result of a power iteration over A from a fixed random vector; the gradient goes through it.
 * Source: the spectral form of arXiv 2001.01275, sect. 2 (after Yoshida, Miyato 2017, who treat the vectors as constant).
 */
export const spectralSo = definePenalty<SpectralSoOptions>({
  name: "spectral-so",
  summary: "so in the spectral norm: the singular value that is furthest from 1",
  formula: "‖WWᵀ − I‖₂² = ‖Au‖², u by power iteration over A = WWᵀ − I (WᵀW − I where smaller)",
  source: "the spectral norm in arXiv 2001.01275, sect. 2; the gradient goes through the iteration",
  defaults: { iterations: 10, seed: 0 },
  about: { iterations: "steps of the power iteration", seed: "of the vector that it starts from" },
  on: "weights",
  seeded: () => true,
  weight: 0.1,
  problem: ({ iterations, seed }) => notWhole({ iterations }, 1) ?? notWhole({ seed }, 0),
  build: (layer, options) => powerIteration(layer, iterationOf(options)),
  reference: (layer, options) => plainPowerIteration(layer, iterationOf(options)),
});
