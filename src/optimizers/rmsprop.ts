import { decayRate, divisor, notNegative } from "../numbers.ts";
import { defineOptimizer, defineTransformation } from "./define.ts";
import { alike, eachParameter, zipped } from "./each-parameter.ts";
import { slotAt } from "./optimizer.ts";
import { momentum } from "./transformations/momentum.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { addDecayedWeights } from "./transformations/weight-decay.ts";
import { Update } from "./update.ts";

const defaults = {
  /** Share α of the past in the running means. */
  alpha: 0.99,
  /** Added to the root. */
  epsilon: 1e-8,
  /** Whether the running mean of updates is subtracted, so that the root is a standard deviation. */
  centered: false,
};
const ranges = { alpha: decayRate, epsilon: divisor };

/**
 * Divides an update by the root of a running mean of its square: v ← α·v + (1−α)·u², u ← u/(√v + ε). Slot `v`; with `centered`
 * also `m`, the running mean of u, and the root is that of v − m².
 *
 * @example
 * chain(scaleByRms({ alpha: 0.9 }), scaleByLearningRate());
 */
export const scaleByRms = defineTransformation(
  {
    name: "scale-by-rms",
    title: "Root of mean squares",
    summary: "divides updates by the root of a running mean of their squares",
    ...{ defaults, ranges },
  },
  ({ alpha, epsilon, centered }, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      slots: centered ? ["v", "m"] : ["v"],
      emit: (g, { update, slots }) => {
        const slope = update.value();
        const v = g.add(g.mul(slotAt(slots, 0), alpha), g.mul(g.mul(slope, 1 - alpha), slope));
        const mean = () => {
          const before = slotAt(slots, 1);
          return g.add(before, g.mul(g.sub(slope, before), 1 - alpha));
        };
        const m = centered ? mean() : undefined;
        // Rounding may make the difference negative, and its root would be no number.
        const spread = m ? g.max(g.sub(v, g.square(m)), 0) : v;
        const direction = () => g.div(slope, g.add(g.sqrt(spread), epsilon));
        return {
          update: new Update(g, update.parameter, () => ({ direction })),
          slots: m ? [v, m] : [v],
        };
      },
      compute: ({ update, slots }) => {
        const v = zipped(update, slotAt(slots, 0), (u, before) => alpha * before + (1 - alpha) * u * u);
        const m = centered
          ? zipped(update, slotAt(slots, 1), (u, before) => alpha * before + (1 - alpha) * u)
          : undefined;
        const spread = m ? zipped(v, m, (square, mean) => Math.max(square - mean * mean, 0)) : v;
        return {
          update: zipped(update, spread, (u, square) => u / (Math.sqrt(square) + epsilon)),
          slots: m ? [v, m] : [v],
        };
      },
    }),
);

/**
 * RMSprop, as torch.optim.RMSprop: gradients over the root of a running mean of their squares, with momentum if asked for.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: rmsprop({ momentum: 0.9 }), learningRate: 1e-3 });
 */
export const rmsprop = defineOptimizer(
  {
    name: "rmsprop",
    title: "RMSprop",
    summary: "gradients over the root of a running mean of their squares, as torch.optim.RMSprop",
    defaults: {
      ...defaults,
      /** Share μ of the last direction that is kept. */
      momentum: 0,
      /** λ of the term λ·w that is added to the gradient. */
      weightDecay: 0,
    },
    ranges: { ...ranges, momentum: decayRate, weightDecay: notNegative },
  },
  ({ weightDecay, momentum: share, ...means }) => [
    addDecayedWeights(weightDecay),
    scaleByRms(means),
    ...(share === 0 ? [] : [momentum(share)]),
    scaleByLearningRate(),
  ],
);
