import { UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { madeHere } from "../made-here.ts";
import { decayRate, notNegative, share } from "../numbers.ts";
import { type Optimizer, slotAt } from "./optimizer.ts";
import { optimizerOptions } from "./options.ts";

/** Options of {@link sgd}. */
export type SgdOptions = {
  /** Share μ of the last update's direction that is kept; 0. */
  readonly momentum: number;
  /** Share of the gradient that does not enter the direction from the second step on; 0. */
  readonly dampening: number;
  /** Whether to look ahead by μ along the new direction; false. */
  readonly nesterov: boolean;
  /** λ of the term λ·w that is added to the gradient; 0. */
  readonly weightDecay: number;
};

const defaults: SgdOptions = { momentum: 0, dampening: 0, nesterov: false, weightDecay: 0 };

/**
 * Gradient descent, as torch.optim.SGD:
 *
 *     g ← g + λ·w      m ← μ·m + (1 − dampening)·g (the first m is g)      w ← w − lr·m   (Nesterov: w − lr·(g + μ·m))
 *
 * Without momentum it remembers nothing, with momentum one slot `m`.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * const step = await buildStep(model, { objective: crossEntropy(), optimizer: sgd({ momentum: 0.9 }) }, probe);
 */
export function sgd(given: Partial<SgdOptions> = {}): Optimizer {
  const options = optimizerOptions("sgd", defaults, given, {
    momentum: decayRate,
    dampening: share,
    weightDecay: notNegative,
  });
  const { momentum, dampening, nesterov, weightDecay } = options;
  if (nesterov && (momentum === 0 || dampening !== 0)) {
    throw new UsageError("the optimizer sgd: nesterov needs a momentum above 0 and no dampening");
  }
  return madeHere({
    name: "sgd",
    options,
    slots: momentum === 0 ? [] : ["m"],
    update: (g, { parameter, gradient, slots, learningRate, step }) => {
      const slope = weightDecay === 0 ? gradient : g.add(gradient, g.mul(parameter, weightDecay));
      if (momentum === 0) return { parameter: g.sub(parameter, g.mul(slope, learningRate)), slots: [] };
      const kept = dampening === 0 ? slope : g.mul(slope, gradientShare(g, step, dampening));
      const m = g.add(g.mul(slotAt(slots, 0), momentum), kept);
      const direction = nesterov ? g.add(slope, g.mul(m, momentum)) : m;
      return { parameter: g.sub(parameter, g.mul(direction, learningRate)), slots: [m] };
    },
    reference: ({ parameter, gradient, slots, learningRate, step }) => {
      const slope = gradient.map((value, i) => value + weightDecay * (parameter[i] ?? Number.NaN));
      const move = (direction: readonly number[]) =>
        parameter.map((value, i) => value - learningRate * (direction[i] ?? Number.NaN));
      if (momentum === 0) return { parameter: move(slope), slots: [] };
      const before = slotAt(slots, 0);
      const m = slope.map((value, i) =>
        step === 1 ? value : momentum * (before[i] ?? Number.NaN) + (1 - dampening) * value,
      );
      const direction = nesterov ? slope.map((value, i) => value + momentum * (m[i] ?? Number.NaN)) : m;
      return { parameter: move(direction), slots: [m] };
    },
  });
}

/** 1 at the first step, where m starts as zeros and becomes g, then 1 − dampening. */
const gradientShare = (g: Emit, step: Typed, dampening: number): Typed =>
  g.once(`sgd share of the gradient, dampening ${dampening}, ${step.name}`, () =>
    g.sub(1, g.mul(g.indicator(g.greater(step, 1), step.type), dampening)),
  );
