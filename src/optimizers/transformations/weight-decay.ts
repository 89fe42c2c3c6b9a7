import { notNegative } from "../../numbers.ts";
import { defineTransformation } from "../define.ts";
import { eachParameter, zipped } from "../each-parameter.ts";
import { patternOf } from "../options.ts";
import type { ParameterSpec } from "../transformation.ts";
import { remainder, Update } from "../update.ts";

const defaults = {
  /** λ. */
  weightDecay: 0.01,
  /** Only parameters whose name matches decay; default all. */
  include: "",
  /** Parameters whose name matches do not decay; default none. */
  exclude: "",
};
const ranges = { weightDecay: notNegative };
const main = "weightDecay";

/** λ of a parameter: that of its group, or the option's where the name decides so, or 0. */
function decayOf({ weightDecay, include, exclude }: typeof defaults): (parameter: ParameterSpec) => number {
  const [only, but] = [include, exclude].map((text) => (text === "" ? undefined : patternOf(text)));
  // `search` takes no notice of where a pattern with the flags g or y last matched.
  const matches = (name: string, pattern: RegExp) => name.search(pattern) >= 0;
  return ({ name, weightDecay: own }) => {
    if (own !== undefined) return own;
    return (!only || matches(name, only)) && !(but && matches(name, but)) ? weightDecay : 0;
  };
}

/**
 * u ← u + λ·w. In front of Adam's moments or a momentum this is the weight decay of torch.optim.Adam and SGD, the gradient of
 * λ/2·‖w‖².
 *
 * @example
 * chain(addDecayedWeights(1e-4, { include: /weight$/ }), sgd({ momentum: 0.9 })); // no decay of biases
 */
export const addDecayedWeights = defineTransformation(
  {
    name: "add-decayed-weights",
    title: "Weight decay in the gradient",
    summary: "adds λ·w to updates",
    ...{ defaults, ranges, main },
  },
  (options, own) => {
    const lambda = decayOf(options);
    return eachParameter({
      ...own,
      treatment: (parameter) => String(lambda(parameter)),
      emit: (g, { spec, update }) => {
        const weightDecay = lambda(spec);
        if (weightDecay === 0) return { update };
        const { parameter } = update;
        const direction = () => g.add(update.value(), g.mul(parameter, weightDecay));
        return { update: new Update(g, parameter, () => ({ direction })) };
      },
      compute: ({ spec, parameter, update }) => ({
        update: zipped(update, parameter, (u, w) => u + lambda(spec) * w),
      }),
    });
  },
);

/**
 * Decoupled weight decay (arXiv 1711.05101): w ← w·(1 − lr·λ) beside the update, whatever the chain makes of the gradient. Its
 * place is after `scaleByLearningRate`.
 *
 * @example
 * chain(adamw({ weightDecay: 0 }), decayWeights(0.05, { exclude: /bias|norm/ }));
 */
export const decayWeights = defineTransformation(
  {
    name: "decay-weights",
    title: "Decoupled weight decay",
    summary: "multiplies parameters by 1 − lr·λ, before or after their update",
    defaults: {
      ...defaults,
      /** Whether the parameter decays after its update, as ONNX Runtime's AdamW has it, and not before. */
      after: false,
    },
    ...{ ranges, main },
  },
  (options, own) => {
    const [{ after }, lambda] = [options, decayOf(options)];
    return eachParameter({
      ...own,
      treatment: (parameter) => String(lambda(parameter)),
      emit: (g, { spec, update, learningRate }) => {
        const weightDecay = lambda(spec);
        if (weightDecay === 0) return { update };
        const { parameter } = update;
        const rate = () => {
          const lr = learningRate();
          return g.once(`decay ${lr.name} ${weightDecay}`, () => g.mul(lr, weightDecay));
        };
        if (!after) return { update: update.decayed(rate) };
        const next = () => g.mul(update.next(), remainder(g, rate()));
        const value = () => g.add(g.mul(update.value(), remainder(g, rate())), g.mul(parameter, rate()));
        return { update: new Update(g, parameter, () => ({ next, value })) };
      },
      compute: ({ spec, parameter, update, learningRate }) => {
        const rate = learningRate * lambda(spec);
        return { update: zipped(update, parameter, (u, w) => u + rate * (after ? w - u : w)) };
      },
    });
  },
);
