import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { decayRate, divisor } from "../../numbers.ts";
import { defineTransformation } from "../define.ts";
import { alike, eachParameter, zipped } from "../each-parameter.ts";
import { slotAt } from "../optimizer.ts";
import { lazy, Update } from "../update.ts";

/** Ranges of the options of Adam's moments. */
export const adamRanges = { beta1: decayRate, beta2: decayRate, epsilon: divisor };

/**
 * Adam's direction (arXiv 1412.6980), from running means of the update and of its square. Two slots, `m` and `v`; t counts
 * from 1:
 *
 *     m ← β1·m + (1−β1)·u      v ← β2·v + (1−β2)·u²      u ← m/(1−β1ᵗ) / (√v/√(1−β2ᵗ) + ε)
 *
 * The graph computes u as r/(1−β1ᵗ) · m/(√v + ε·r), r = √(1−β2ᵗ), and leaves the scalar in front apart: one pass over the
 * parameter less.
 *
 * @example
 * chain(scaleByAdam({ beta2: 0.99 }), scaleByLearningRate(), decayWeights(0.01)); // AdamW
 */
export const scaleByAdam = defineTransformation(
  {
    name: "scale-by-adam",
    title: "Adam's moments",
    summary: "divides a running mean of updates by the root of a running mean of their squares",
    defaults: {
      /** Share of the past in m. */
      beta1: 0.9,
      /** Share of the past in v. */
      beta2: 0.999,
      /** Added to the root of v. */
      epsilon: 1e-8,
      /** Whether ε is added to the root of v before v is corrected, as ONNX Runtime does, and not after it. */
      uncorrectedEpsilon: false,
    },
    ranges: adamRanges,
  },
  ({ beta1: ownBeta, beta2, epsilon, uncorrectedEpsilon }, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      slots: ["m", "v"],
      emit: (g, { update, slots, step, momentum }) => {
        const beta1 = momentum?.() ?? ownBeta;
        const rest =
          typeof beta1 === "number" ? 1 - beta1 : g.once(`1 - ${beta1.name}`, () => g.sub(1, beta1));
        const slope = update.value();
        const [m0, v0] = [slotAt(slots, 0), slotAt(slots, 1)];
        const m = g.add(m0, g.mul(g.sub(slope, m0), rest));
        const v = g.add(g.mul(v0, beta2), g.mul(g.mul(slope, 1 - beta2), slope));
        // Scalars, the same for all parameters.
        const scalars = `${momentum ? "momentum" : ownBeta} ${beta2} ${epsilon} ${step().name}`;
        const root = g.once(`adam root ${scalars}`, () => g.sqrt(biasCorrection(g, beta2, step())));
        const floor = () =>
          uncorrectedEpsilon ? epsilon : g.once(`adam floor ${scalars}`, () => g.mul(root, epsilon));
        const factor = (by: Typed | undefined) => {
          const rate = g.once(`adam rate ${scalars} ${by?.name}`, () =>
            g.div(by ? g.mul(by, root) : root, biasCorrection(g, beta1, step())),
          );
          // Scalars stand together, in front of what has the parameter's size.
          floor();
          return rate;
        };
        const direction = lazy(() => g.div(m, g.add(g.sqrt(v), floor())));
        return { update: new Update(g, update.parameter, () => ({ direction, factor })), slots: [m, v] };
      },
      compute: ({ update, slots, step, momentum: beta1 = ownBeta }) => {
        const [correction1, correction2] = [1 - beta1 ** step, 1 - beta2 ** step];
        const m = zipped(update, slotAt(slots, 0), (u, before) => beta1 * before + (1 - beta1) * u);
        const v = zipped(update, slotAt(slots, 1), (u, before) => beta2 * before + (1 - beta2) * u * u);
        const root = (square: number) =>
          uncorrectedEpsilon
            ? (Math.sqrt(square) + epsilon) / Math.sqrt(correction2)
            : Math.sqrt(square / correction2) + epsilon;
        return {
          update: zipped(m, v, (first, second) => first / correction1 / root(second)),
          slots: [m, v],
        };
      },
    }),
);

/**
 * 1 − βᵗ without cancellation: −expm1(t·ln β), with expm1(x) = 2T/(1 − T), T = tanh(x/2). For β2 = 0.999 and t = 1 the
 * subtraction would lose three of float32's seven digits.
 * @param beta - a number, or a scalar above 0 that differs from step to step
 */
export function biasCorrection(g: Emit, beta: number | Typed, step: Typed): Typed {
  if (beta === 0) return g.scalar(1, step.type);
  const [name, half] =
    typeof beta === "number" ? [beta, Math.log(beta) / 2] : [beta.name, g.mul(g.log(beta), 0.5)];
  return g.once(`1 - ${name}^${step.name}`, () => {
    const t = g.tanh(g.mul(step, half));
    return g.div(g.mul(t, -2), g.sub(1, t));
  });
}
