import { defineTransformation } from "../define.ts";
import { alike, eachParameter } from "../each-parameter.ts";

/**
 * u ← lr·u: without it at the end of a chain the learning rate has no effect.
 *
 * @example
 * chain(scaleByAdam(), scaleByLearningRate()); // Adam
 */
export const scaleByLearningRate = defineTransformation(
  {
    name: "scale-by-learning-rate",
    title: "Learning rate",
    summary: "multiplies updates by the learning rate",
    defaults: {},
    ranges: {},
  },
  (_, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      emit: (_, { update, learningRate }) => ({ update: update.scaled(learningRate) }),
      compute: ({ update, learningRate }) => ({ update: update.map((value) => learningRate * value) }),
    }),
);
