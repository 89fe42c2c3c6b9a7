import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { decayRate, divisor, notNegative } from "../numbers.ts";
import { defineOptimizer, defineTransformation } from "./define.ts";
import { alike, zipped } from "./each-parameter.ts";
import { slotAt } from "./optimizer.ts";
import { ownCount } from "./own-count.ts";
import type { ParameterSpec, SlotSpec } from "./transformation.ts";
import { biasCorrection } from "./transformations/scale-by-adam.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { addDecayedWeights } from "./transformations/weight-decay.ts";
import { inType, lazy, updatesAlong } from "./update.ts";

const defaults = {
  /** Share of the past in m once the momentum has grown to it. */
  beta1: 0.9,
  /** Share of the past in v. */
  beta2: 0.999,
  /** Added to the root of v. */
  epsilon: 1e-8,
  /** ψ: how slowly the momentum grows. */
  momentumDecay: 4e-3,
};
const ranges = { beta1: decayRate, beta2: decayRate, epsilon: divisor, momentumDecay: notNegative };

/** The scalars of a step: how much of the gradient and of m make up the direction. */
interface Shares<T> {
  readonly product: T;
  readonly ofGradient: T;
  readonly ofMean: T;
}

/** The numbers of updates that some of the parameters wait. */
const beginnings = (parameters: readonly ParameterSpec[]): number[] => {
  const waits = [...new Set(parameters.map(({ idle = 0 }) => idle))].sort((a, b) => a - b);
  return waits.length === 0 ? [0] : waits;
};

/**
 * NAdam's direction, Adam with Nesterov's momentum. Slots `m` and `v` of each parameter, and `mu_product` of the run:
 *
 *     μₜ = β1·(1 − ½·0.96^(t·ψ))      m, v as Adam's      p ← p·μₜ
 *     u ← ((1−μₜ)/(1−p)·u + μₜ₊₁/(1−p·μₜ₊₁)·m) / (√(v/(1−β2ᵗ)) + ε)
 */
export const scaleByNadam = defineTransformation(
  {
    name: "scale-by-nadam",
    title: "NAdam's direction",
    summary: "looks ahead along Adam's mean of updates",
    ...{ defaults, ranges },
  },
  ({ beta1, beta2, epsilon, momentumDecay }, own) => {
    const rate = Math.log(0.96) * momentumDecay;
    const shares = (g: Emit, before: Typed, step: Typed): Shares<() => Typed> => {
      const key = `nadam ${JSON.stringify(own.options)} ${before.name} ${step.name}`;
      const at = (name: string, t: () => Typed) =>
        g.once(`${key} ${name}`, () => g.mul(g.sub(1, g.mul(g.exp(g.mul(t(), rate)), 0.5)), beta1));
      const now = () => at("now", () => step);
      const next = () => at("next", () => g.add(step, 1));
      const product = () => g.once(`${key} product`, () => g.mul(before, now()));
      return {
        product,
        ofGradient: () => g.once(`${key} gradient`, () => g.div(g.sub(1, now()), g.sub(1, product()))),
        ofMean: () => g.once(`${key} mean`, () => g.div(next(), g.sub(1, g.mul(product(), next())))),
      };
    };
    return {
      ...own,
      treatment: alike,
      init: (parameters) => [
        ...parameters.flatMap(({ type, shape }, of) =>
          ["m", "v"].map((name): SlotSpec => ({ name, of, type, shape, start: 0 })),
        ),
        // Parameters that begin later have a product of their own.
        ...beginnings(parameters).map(
          (): SlotSpec => ({
            ...{ name: "mu_product", of: undefined, shape: [], start: 1 },
            type: parameters.some(({ type }) => type === "double") ? "double" : "float",
          }),
        ),
      ],
      emit: (g, { parameters, updates, state, step }) => {
        const begun = beginnings(parameters);
        const sharesOf = (idle: number) => {
          const slot = slotAt(state, updates.length * 2 + begun.indexOf(idle));
          const count = step({ name: "", shape: [], type: slot.type, idle });
          // While parameters wait, they count 1, as at their first update.
          const first = () => g.where(g.greater(count, 1), slot, 1);
          const before = idle === 0 ? slot : g.once(`nadam ${slot.name} ${count.name}`, first);
          return shares(g, before, count);
        };
        const product = (idle: number) => lazy(() => sharesOf(idle).product());
        const each = updates.map((update, i) =>
          lazy(() => {
            const slope = update.value();
            const { type } = update.parameter;
            const m0 = slotAt(state, 2 * i);
            const m = g.add(m0, g.mul(g.sub(slope, m0), 1 - beta1));
            const v = g.add(g.mul(slotAt(state, 2 * i + 1), beta2), g.mul(g.mul(slope, 1 - beta2), slope));
            const spec = parameters[i] as ParameterSpec;
            const own = sharesOf(spec.idle ?? 0);
            const scalar = (value: Typed) => inType(g, value, type);
            const correction = biasCorrection(g, beta2, step(spec));
            const root = g.add(g.sqrt(g.div(v, correction)), epsilon);
            const ahead = g.add(g.mul(slope, scalar(own.ofGradient())), g.mul(m, scalar(own.ofMean())));
            return { direction: lazy(() => g.div(ahead, root)), m, v };
          }),
        );
        return {
          updates: updatesAlong(g, updates, (i) => slotAt(each, i)().direction()),
          state: [...each.flatMap((one) => [() => one().m, () => one().v]), ...begun.map(product)],
        };
      },
      compute: ({ parameters, updates, state, step }) => {
        const share = (t: number) => beta1 * (1 - 0.5 * 0.96 ** (t * momentumDecay));
        const begun = beginnings(parameters);
        const products = begun.map((idle, i) => {
          const t = ownCount(step, { idle });
          const before = t > 1 ? (state[updates.length * 2 + i]?.[0] ?? Number.NaN) : 1;
          return before * share(t);
        });
        const results = updates.map((update, i) => {
          const spec = parameters[i] as ParameterSpec;
          const t = ownCount(step, spec);
          const product = slotAt(products, begun.indexOf(spec.idle ?? 0));
          const ofGradient = (1 - share(t)) / (1 - product);
          const ofMean = share(t + 1) / (1 - product * share(t + 1));
          const m = zipped(update, slotAt(state, 2 * i), (u, before) => beta1 * before + (1 - beta1) * u);
          const v = zipped(
            update,
            slotAt(state, 2 * i + 1),
            (u, before) => beta2 * before + (1 - beta2) * u * u,
          );
          const ahead = zipped(update, m, (u, mean) => ofGradient * u + ofMean * mean);
          const root = v.map((square) => Math.sqrt(square / (1 - beta2 ** t)) + epsilon);
          return { update: zipped(ahead, root, (a, b) => a / b), m, v };
        });
        return {
          updates: results.map(({ update }) => update),
          state: [...results.flatMap(({ m, v }) => [m, v]), ...products.map((product) => [product])],
        };
      },
    };
  },
);

/**
 * NAdam (Dozat, ICLR 2016 workshop), as torch.optim.NAdam: Adam with Nesterov's momentum, which grows to β1 over the run.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: nadam(), learningRate: 2e-3 });
 */
export const nadam = defineOptimizer(
  {
    name: "nadam",
    title: "NAdam",
    summary: "Adam with Nesterov's momentum, as torch.optim.NAdam",
    defaults: {
      ...defaults,
      /** λ of the term λ·w that is added to the gradient. */
      weightDecay: 0,
    },
    ranges: { ...ranges, weightDecay: notNegative },
  },
  ({ weightDecay, ...moments }) => [
    addDecayedWeights(weightDecay),
    scaleByNadam(moments),
    scaleByLearningRate(),
  ],
);
