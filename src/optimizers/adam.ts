import { notNegative } from "../numbers.ts";
import { defineOptimizer } from "./define.ts";
import { adamRanges, scaleByAdam } from "./transformations/scale-by-adam.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { addDecayedWeights } from "./transformations/weight-decay.ts";

/** The permitted options of Adam and its variants. */
export const adamOptionRanges = { ...adamRanges, weightDecay: notNegative };

/**
 * Adam (arXiv 1412.6980), as torch.optim.Adam: a weight decay λ is the term λ·w of the gradient.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: adam({ beta2: 0.99 }) });
 */
export const adam = defineOptimizer(
  {
    name: "adam",
    title: "Adam",
    summary: "moments of the gradient, as torch.optim.Adam",
    defaults: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
    ranges: adamOptionRanges,
  },
  ({ weightDecay, ...moments }) => [
    addDecayedWeights(weightDecay),
    scaleByAdam(moments),
    scaleByLearningRate(),
  ],
);
