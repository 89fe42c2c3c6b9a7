import { divisor, notNegative } from "../numbers.ts";
import { defineOptimizer, defineTransformation } from "./define.ts";
import { alike, eachParameter, zipped } from "./each-parameter.ts";
import { slotAt } from "./optimizer.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { addDecayedWeights } from "./transformations/weight-decay.ts";
import { Update } from "./update.ts";

const defaults = {
  /** What the sum of squares starts with. */
  initialSum: 0,
  /** Added to the root. */
  epsilon: 1e-10,
};
const ranges = { initialSum: notNegative, epsilon: divisor };

/** Divides an update by the root of the sum of all its squares: s ← s + u², u ← u/(√s + ε). One slot, `sum`. */
export const scaleBySumOfSquares = defineTransformation(
  {
    name: "scale-by-sum-of-squares",
    title: "Root of the sum of squares",
    summary: "divides updates by the root of the sum of all their squares",
    ...{ defaults, ranges },
  },
  ({ initialSum, epsilon }, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      slots: [{ name: "sum", start: initialSum }],
      emit: (g, { update, slots }) => {
        const slope = update.value();
        const sum = g.add(slotAt(slots, 0), g.square(slope));
        const direction = () => g.div(slope, g.add(g.sqrt(sum), epsilon));
        return { update: new Update(g, update.parameter, () => ({ direction })), slots: [sum] };
      },
      compute: ({ update, slots }) => {
        const sum = zipped(update, slotAt(slots, 0), (u, before) => before + u * u);
        return { update: zipped(update, sum, (u, all) => u / (Math.sqrt(all) + epsilon)), slots: [sum] };
      },
    }),
);

/**
 * Adagrad (JMLR 12, 2011), as torch.optim.Adagrad: gradients over the root of the sum of all their squares, for sparse features. A
 * schedule takes the place of PyTorch's `lr_decay`.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: adagrad(), learningRate: 0.01 });
 */
export const adagrad = defineOptimizer(
  {
    name: "adagrad",
    title: "Adagrad",
    summary: "gradients over the root of the sum of all their squares, as torch.optim.Adagrad",
    defaults: {
      ...defaults,
      /** λ of the term λ·w that is added to the gradient. */
      weightDecay: 0,
    },
    ranges: { ...ranges, weightDecay: notNegative },
  },
  ({ weightDecay, ...sums }) => [
    addDecayedWeights(weightDecay),
    scaleBySumOfSquares(sums),
    scaleByLearningRate(),
  ],
);
