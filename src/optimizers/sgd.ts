import { UsageError } from "../errors.ts";
import { decayRate, notNegative, share } from "../numbers.ts";
import { defineOptimizer } from "./define.ts";
import { momentum } from "./transformations/momentum.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { addDecayedWeights } from "./transformations/weight-decay.ts";

/**
 * Gradient descent, as torch.optim.SGD:
 *
 *     g ← g + λ·w      m ← μ·m + (1 − dampening)·g (the first m is g)      w ← w − lr·m   (Nesterov: w − lr·(g + μ·m))
 *
 * It has one slot `m` with momentum, and none without.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * const step = await buildStep(model, { objective: crossEntropy(), optimizer: sgd({ momentum: 0.9 }) }, probe);
 */
export const sgd = defineOptimizer(
  {
    name: "sgd",
    title: "SGD",
    summary: "gradient descent with momentum, as torch.optim.SGD",
    defaults: {
      /** Share μ of the last update's direction that is kept. */
      momentum: 0,
      /** Share of the gradient that does not enter the direction from the second step on. */
      dampening: 0,
      /** Whether to look ahead by μ along the new direction. */
      nesterov: false,
      /** λ of the term λ·w that is added to the gradient. */
      weightDecay: 0,
    },
    ranges: { momentum: decayRate, dampening: share, weightDecay: notNegative },
  },
  ({ weightDecay, ...kept }) => {
    if (kept.dampening !== 0 && kept.momentum === 0) {
      throw new UsageError("the optimizer sgd: dampening has no effect without a momentum above 0");
    }
    if (kept.nesterov && (kept.momentum === 0 || kept.dampening !== 0)) {
      throw new UsageError("the optimizer sgd: nesterov needs a momentum above 0 and no dampening");
    }
    return [
      addDecayedWeights(weightDecay),
      ...(kept.momentum === 0 ? [] : [momentum(kept)]),
      scaleByLearningRate(),
    ];
  },
);
