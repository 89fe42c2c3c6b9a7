import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { count } from "../../numbers.ts";
import { defineTransformation } from "../define.ts";
import { alike, eachParameter, zipped } from "../each-parameter.ts";
import { slotAt } from "../optimizer.ts";

/**
 * Keeps the mean of the parameters after the updates `start`, `start + every`, `start + 2·every` …, all with the same weight
 * (stochastic weight averaging, arXiv 1803.05407), as torch.optim.swa_utils.AveragedModel does. One slot, `swa`: up to the update
 * `start` the parameters themselves. It does not change the updates; put it last in a chain. A trainer evaluates and exports the
 * mean.
 *
 * @example
 * chain(sgd({ momentum: 0.9 }), averageEqually({ start: 3000, every: 500 }));
 */
export const averageEqually = defineTransformation(
  {
    name: "average-equally",
    title: "Mean of weights",
    summary: "keeps the mean of the parameters after every so many updates",
    defaults: {
      /** The first update whose parameters are averaged. */
      start: 1,
      /** Number of updates from one averaged state of the parameters to the next. */
      every: 1,
    },
    ranges: { start: count, every: count },
    main: "start",
  },
  ({ start, every }, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      slots: [{ name: "swa", start: "parameter" }],
      emit: (g, { update, slots, runStep }) => {
        const before = slotAt(slots, 0);
        const share = shareOfNew(g, runStep(), start, every);
        return { update, slots: [g.add(before, g.mul(g.sub(update.next(), before), share))] };
      },
      compute: ({ parameter, update, slots, runStep }) => {
        const next = zipped(parameter, update, (w, u) => w - u);
        const past = runStep - start;
        const share = past <= 0 ? 1 : past % every === 0 ? 1 / (past / every + 1) : 0;
        return {
          update,
          slots: [zipped(slotAt(slots, 0), next, (before, w) => before + share * (w - before))],
        };
      },
    }),
);

/** 1 up to `start`, then 1/n where the n-th parameters come to the mean, and 0 in between. */
const shareOfNew = (g: Emit, step: Typed, start: number, every: number): Typed =>
  g.once(`share of a mean ${start} ${every} ${step.name}`, () => {
    const past = g.sub(step, start);
    const whole = g.floor(g.div(past, every));
    const isDue = g.equal(g.mul(whole, every), past);
    const share = g.mul(g.indicator(isDue, step.type), g.reciprocal(g.max(g.add(whole, 1), 1)));
    return g.where(g.greater(past, 0), share, 1);
  });
