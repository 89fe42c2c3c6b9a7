import { definePenalty, notWhole } from "../define.ts";
import { type PowerIteration, plainPowerIteration, powerIteration } from "./power-iteration.ts";

/** Options of SRIP. */
export type SripOptions = {
  /** Seed of the random vector b if it is constant, as in an injected model; default 0. */
  readonly seed: number;
};

const iterationOf = ({ seed }: SripOptions): PowerIteration => ({
  iterations: 1,
  start: { distribution: "uniform", seed, anew: "step" },
});

/**
 * Spectral restricted isometry property: one step of a power iteration from a random vector b, a new one at each training step.
 *
 *     R = ‖A·v‖², v = A·b/‖A·b‖, A = WWᵀ − I or WᵀW − I (the smaller one), b uniform from 0 to 1
 *
 * The gradient goes through v too.
 * Source: Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (9) and (10), as in its code for Wide ResNets
 * (VITA-Group/Orthogonality-in-CNNs): the square of the paper's norm, the smaller product, and weight 1e-2, which falls to
 * 1e-3, 1e-4, 1e-6 of that after 20, 50, 70 of 200 epochs and is 0 from epoch 121 on (the schedule `srip`). The paper writes
 * σ(WᵀW − I) without the square, and λ = 0.1, then 1e-3, 1e-4, 1e-6.
 */
export const srip = definePenalty<SripOptions>({
  name: "srip",
  summary: "one step of a power iteration towards the singular value that is furthest from 1",
  formula: "‖A·v‖², v = A·b/‖A·b‖, A = WWᵀ − I (WᵀW − I where smaller), b random at each step",
  source:
    "Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (10), as in its code (VITA-Group/Orthogonality-in-CNNs, Wide ResNet): squared, 1e-2; its schedule is schedule=srip",
  defaults: { seed: 0 },
  about: { seed: "of b if it is constant, as in an injected model" },
  on: "weights",
  seeded: () => true,
  weight: 1e-2,
  problem: ({ seed }) => notWhole({ seed }, 0),
  build: (layer, options) => powerIteration(layer, iterationOf(options)),
  reference: (layer, options) => plainPowerIteration(layer, iterationOf(options)),
});
