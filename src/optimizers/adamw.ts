import { adamOptionRanges } from "./adam.ts";
import { defineOptimizer } from "./define.ts";
import { scaleByAdam } from "./transformations/scale-by-adam.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { decayWeights } from "./transformations/weight-decay.ts";

/**
 * AdamW (arXiv 1711.05101), as torch.optim.AdamW: weight decay acts on the parameter, w ← w − lr·λ·w, and not through
 * the gradient.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: adamw({ weightDecay: 0.05 }) });
 */
export const adamw = defineOptimizer(
  {
    name: "adamw",
    title: "AdamW",
    summary: "Adam with decoupled weight decay, as torch.optim.AdamW",
    defaults: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
    ranges: adamOptionRanges,
  },
  ({ weightDecay, ...moments }) => [scaleByAdam(moments), scaleByLearningRate(), decayWeights(weightDecay)],
);
