import { decayRate, notNegative } from "../numbers.ts";
import { defineOptimizer, defineTransformation } from "./define.ts";
import { alike, eachParameter, zipped } from "./each-parameter.ts";
import { slotAt } from "./optimizer.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { signOf } from "./transformations/scale-by-sign.ts";
import { decayWeights } from "./transformations/weight-decay.ts";
import { Update } from "./update.ts";

const averages = {
  /** Share of the past in the direction. */
  beta1: 0.9,
  /** Share of the past in m. */
  beta2: 0.99,
};
const ranges = { beta1: decayRate, beta2: decayRate };

/** Lion's direction: u ← sign(β1·m + (1−β1)·u), then m ← β2·m + (1−β2)·u of the u that came in. One slot, `m`. */
export const scaleByLion = defineTransformation(
  {
    name: "scale-by-lion",
    title: "Lion's direction",
    summary: "takes the sign of an update and a running mean of updates together",
    ...{ defaults: averages, ranges },
  },
  ({ beta1, beta2 }, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      slots: ["m"],
      emit: (g, { update, slots }) => {
        const slope = update.value();
        const before = slotAt(slots, 0);
        const difference = g.sub(slope, before);
        const direction = () => signOf(g, g.add(before, g.mul(difference, 1 - beta1)));
        return {
          update: new Update(g, update.parameter, () => ({ direction })),
          slots: [g.add(before, g.mul(difference, 1 - beta2))],
        };
      },
      compute: ({ update, slots }) => {
        const mixed = (beta: number) =>
          zipped(update, slotAt(slots, 0), (u, before) => beta * before + (1 - beta) * u);
        return { update: mixed(beta1).map(Math.sign), slots: [mixed(beta2)] };
      },
    }),
);

/**
 * Lion (arXiv 2302.06675): steps of the learning rate's size along the sign of a momentum, with decoupled weight decay. It keeps
 * one slot, where Adam keeps two. Its authors use a learning rate 3 to 10 times smaller than AdamW's.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: lion({ weightDecay: 0.1 }), learningRate: 1e-4 });
 */
export const lion = defineOptimizer(
  {
    name: "lion",
    title: "Lion",
    summary: "the sign of a momentum, with decoupled weight decay (arXiv 2302.06675)",
    defaults: {
      ...averages,
      /** λ of w ← w − lr·λ·w. */
      weightDecay: 0,
    },
    ranges: { ...ranges, weightDecay: notNegative },
  },
  ({ weightDecay, ...betas }) => [scaleByLion(betas), scaleByLearningRate(), decayWeights(weightDecay)],
);
