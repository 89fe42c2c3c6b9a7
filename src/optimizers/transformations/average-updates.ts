import { decayRate } from "../../numbers.ts";
import { defineTransformation } from "../define.ts";
import { alike, eachParameter, zipped } from "../each-parameter.ts";
import { slotAt } from "../optimizer.ts";
import { Update } from "../update.ts";

/**
 * A running mean of updates: m ← μ·m + (1 − μ)·u, u ← m (Nesterov: (1 − μ)·u + μ·m of the new m). One slot, `m`.
 *
 * @example
 * chain(averageUpdates(0.95), orthogonalize(), scaleByLearningRate());
 */
export const averageUpdates = defineTransformation(
  {
    name: "average-updates",
    title: "Running mean",
    summary: "replaces updates by their running mean",
    defaults: {
      /** Share μ of the past in the mean. */
      share: 0.95,
      /** Whether to look ahead by μ along the new mean. */
      nesterov: false,
    },
    ranges: { share: decayRate },
    main: "share",
  },
  ({ share, nesterov }, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      slots: ["m"],
      emit: (g, { update, slots }) => {
        const slope = update.value();
        const before = slotAt(slots, 0);
        const m = g.add(before, g.mul(g.sub(slope, before), 1 - share));
        const direction = () => (nesterov ? g.add(slope, g.mul(g.sub(m, slope), share)) : m);
        return { update: new Update(g, update.parameter, () => ({ direction })), slots: [m] };
      },
      compute: ({ update, slots }) => {
        const m = zipped(update, slotAt(slots, 0), (u, before) => share * before + (1 - share) * u);
        return {
          update: nesterov ? zipped(update, m, (u, mean) => (1 - share) * u + share * mean) : m,
          slots: [m],
        };
      },
    }),
);
