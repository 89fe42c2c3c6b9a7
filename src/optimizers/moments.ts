import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { madeHere } from "../made-here.ts";
import { decayRate, notNegative, positive } from "../numbers.ts";
import { type Optimizer, slotAt } from "./optimizer.ts";
import { optimizerOptions } from "./options.ts";

/** Options of {@link adam} and {@link adamw}. */
export type AdamOptions = {
  /** Share of the past in m, the running mean of gradients; 0.9. */
  readonly beta1: number;
  /** Share of the past in v, the running mean of squared gradients; 0.999. */
  readonly beta2: number;
  /** Added to the root of v; 1e-8. */
  readonly epsilon: number;
  /** Weight decay λ. */
  readonly weightDecay: number;
};

/**
 * Where λ acts: as the term λ·w of the gradient, on the parameter before the update, or on what the update makes of it;
 * the last two apart from m and v.
 */
export type WeightDecayForm = "gradient" | "parameter" | "result";

/** How an optimizer of this family differs from torch.optim.Adam. */
export interface MomentForm {
  readonly weightDecay: WeightDecayForm;
  /** Whether ε is added to the root of the corrected v, as torch does, or to that of v as it is. */
  readonly epsilon: "corrected" | "plain";
}

/**
 * The optimizer that adam, adamw and adamw-ort share, here as in torch.optim (slots `m` and `v`, t counts from 1):
 *
 *     m ← β1·m + (1−β1)·g      v ← β2·v + (1−β2)·g²
 *     w ← w − lr/(1−β1ᵗ) · m / (√v/√(1−β2ᵗ) + ε)
 *
 * The graph computes the quotient as lr·r/(1−β1ᵗ) · m/(√v + ε·r), r = √(1−β2ᵗ): one pass over the parameter less.
 */
export function momentOptimizer(
  name: string,
  form: MomentForm,
  defaults: AdamOptions,
  given: Partial<AdamOptions>,
): Optimizer {
  const options = optimizerOptions(name, defaults, given, {
    beta1: decayRate,
    beta2: decayRate,
    epsilon: positive,
    weightDecay: notNegative,
  });
  const { beta1, beta2, epsilon, weightDecay } = options;
  const decays = (where: WeightDecayForm) => form.weightDecay === where && weightDecay !== 0;
  const corrected = form.epsilon === "corrected";
  return madeHere({
    name,
    options,
    slots: ["m", "v"],
    update: (g, { parameter, gradient, slots, learningRate, step }) => {
      const slope = decays("gradient") ? g.add(gradient, g.mul(parameter, weightDecay)) : gradient;
      const [m0, v0] = [slotAt(slots, 0), slotAt(slots, 1)];
      const m = g.add(m0, g.mul(g.sub(slope, m0), 1 - beta1));
      const v = g.add(g.mul(v0, beta2), g.mul(g.mul(slope, 1 - beta2), slope));
      // Scalars, the same for all parameters.
      const scalars = `${beta1} ${beta2} ${epsilon} ${learningRate.name} ${step.name}`;
      const root = g.once(`adam root ${scalars}`, () => g.sqrt(biasCorrection(g, beta2, step)));
      const rate = g.once(`adam rate ${scalars}`, () =>
        g.div(g.mul(learningRate, root), biasCorrection(g, beta1, step)),
      );
      const floor = corrected ? g.once(`adam floor ${scalars}`, () => g.mul(root, epsilon)) : epsilon;
      const decayed = (value: Typed) => g.mul(value, remainder(g, learningRate, weightDecay));
      const kept = decays("parameter") ? decayed(parameter) : parameter;
      const next = g.sub(kept, g.mul(g.div(m, g.add(g.sqrt(v), floor)), rate));
      return { parameter: decays("result") ? decayed(next) : next, slots: [m, v] };
    },
    reference: ({ parameter, gradient, slots, learningRate, step }) => {
      const [m0, v0] = [slotAt(slots, 0), slotAt(slots, 1)];
      const [correction1, correction2] = [1 - beta1 ** step, 1 - beta2 ** step];
      const entries = parameter.map((w, i) => {
        const g = (gradient[i] ?? Number.NaN) + (decays("gradient") ? weightDecay * w : 0);
        const m = beta1 * (m0[i] ?? Number.NaN) + (1 - beta1) * g;
        const v = beta2 * (v0[i] ?? Number.NaN) + (1 - beta2) * g * g;
        const decay = 1 - learningRate * weightDecay;
        const root = corrected
          ? Math.sqrt(v / correction2) + epsilon
          : (Math.sqrt(v) + epsilon) / Math.sqrt(correction2);
        const next = (decays("parameter") ? w * decay : w) - (learningRate / correction1) * (m / root);
        return { w: decays("result") ? next * decay : next, m, v };
      });
      return {
        parameter: entries.map(({ w }) => w),
        slots: [entries.map(({ m }) => m), entries.map(({ v }) => v)],
      };
    },
  });
}

/**
 * 1 − βᵗ without cancellation: −expm1(t·ln β), with expm1(x) = 2T/(1 − T), T = tanh(x/2). For β2 = 0.999 and t = 1 the
 * subtraction would lose three of float32's seven digits.
 */
function biasCorrection(g: Emit, beta: number, step: Typed): Typed {
  if (beta === 0) return g.scalar(1, step.type);
  return g.once(`1 - ${beta}^${step.name}`, () => {
    const t = g.tanh(g.mul(step, Math.log(beta) / 2));
    return g.div(g.mul(t, -2), g.sub(1, t));
  });
}

/** 1 − lr·λ: what weight decay leaves of a parameter. */
const remainder = (g: Emit, learningRate: Typed, weightDecay: number): Typed =>
  g.once(`1 - ${learningRate.name} ${weightDecay}`, () => g.sub(1, g.mul(learningRate, weightDecay)));
