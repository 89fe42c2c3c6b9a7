import { adamOptionRanges } from "./adam.ts";
import { defineOptimizer } from "./define.ts";
import { scaleByAdam } from "./transformations/scale-by-adam.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { scaleByTrustRatio } from "./transformations/scale-by-trust-ratio.ts";
import { addDecayedWeights } from "./transformations/weight-decay.ts";

/**
 * LAMB (arXiv 1904.00962), for large batches: Adam's direction plus λ·w, given the norm of its parameter:
 *
 *     r = m̂/(√v̂ + ε) + λ·w      w ← w − lr·r·‖w‖/‖r‖   (r alone where a norm is 0)
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: lamb(), learningRate: 2e-3, batch: 1024 });
 */
export const lamb = defineOptimizer(
  {
    name: "lamb",
    title: "LAMB",
    summary: "Adam's direction with the norm of its parameter, for large batches (arXiv 1904.00962)",
    defaults: { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, weightDecay: 0.01 },
    ranges: adamOptionRanges,
  },
  ({ weightDecay, ...moments }) => [
    scaleByAdam(moments),
    addDecayedWeights(weightDecay),
    scaleByTrustRatio(),
    scaleByLearningRate(),
  ],
);
