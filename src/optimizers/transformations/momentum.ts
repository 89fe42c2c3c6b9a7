import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { share as anyShare, decayRate } from "../../numbers.ts";
import { defineTransformation } from "../define.ts";
import { alike, eachParameter, zipped } from "../each-parameter.ts";
import { slotAt } from "../optimizer.ts";
import { Update } from "../update.ts";

/**
 * Momentum, as torch.optim.SGD has it: m ← μ·m + (1 − dampening)·u (the first m is u), u ← m (Nesterov: u + μ·m). One slot, `m`.
 *
 * @example
 * chain(momentum({ momentum: 0.9, nesterov: true }), scaleByLearningRate());
 */
export const momentum = defineTransformation(
  {
    name: "momentum",
    title: "Momentum",
    summary: "keeps a share of the last direction",
    defaults: {
      /** Share μ of the last direction that is kept. */
      momentum: 0.9,
      /** Share of the update that does not enter the direction from the second step on. */
      dampening: 0,
      /** Whether to look ahead by μ along the new direction. */
      nesterov: false,
    },
    ranges: { momentum: decayRate, dampening: anyShare },
    main: "momentum",
  },
  ({ momentum: ownShare, dampening, nesterov }, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      slots: ["m"],
      emit: (g, { update, slots, step, momentum: moved }) => {
        const share = moved?.() ?? ownShare;
        const slope = update.value();
        const kept = dampening === 0 ? slope : g.mul(slope, updateShare(g, step(), dampening));
        const m = g.add(g.mul(slotAt(slots, 0), share), kept);
        const direction = () => (nesterov ? g.add(slope, g.mul(m, share)) : m);
        return { update: new Update(g, update.parameter, () => ({ direction })), slots: [m] };
      },
      compute: ({ update, slots, step, momentum: share = ownShare }) => {
        const m = zipped(update, slotAt(slots, 0), (u, before) =>
          step === 1 ? u : share * before + (1 - dampening) * u,
        );
        return { update: nesterov ? zipped(update, m, (u, next) => u + share * next) : m, slots: [m] };
      },
    }),
);

/** 1 at the first step, where m starts as zeros and becomes u, then 1 − dampening. */
const updateShare = (g: Emit, step: Typed, dampening: number): Typed =>
  g.once(`share of the update, dampening ${dampening}, ${step.name}`, () =>
    g.sub(1, g.mul(g.indicator(g.greater(step, 1), step.type), dampening)),
  );
