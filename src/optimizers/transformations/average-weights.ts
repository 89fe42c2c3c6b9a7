import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { decayRate } from "../../numbers.ts";
import { defineTransformation } from "../define.ts";
import { alike, eachParameter, zipped } from "../each-parameter.ts";
import { slotAt } from "../optimizer.ts";

/**
 * Keeps an exponential moving average of the parameters beside them, as torch.optim.swa_utils.AveragedModel with
 * get_ema_multi_avg_fn does: the parameters after the first update, then ema ← d·ema + (1−d)·w of the updated w. One slot, `ema`.
 * It does not change the updates; put it last in a chain. A trainer evaluates and exports the averages.
 *
 * @example
 * const trainer = await Trainer.create(model, { objective: crossEntropy(), optimizer: chain(adamw(), averageWeights(0.999)) });
 * // … after training:
 * await writeModel(trainer.export(), "averaged.onnx");
 */
export const averageWeights = defineTransformation(
  {
    name: "average-weights",
    title: "Average of weights",
    summary: "keeps a moving average of the parameters",
    defaults: {
      /** Share d of the past in the average. */
      decay: 0.999,
    },
    ranges: { decay: decayRate },
    main: "decay",
  },
  ({ decay }, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      slots: [{ name: "ema", start: "parameter" }],
      emit: (g, { update, slots, runStep }) => {
        const before = slotAt(slots, 0);
        const share = shareOfNew(g, decay, runStep());
        return { update, slots: [g.add(before, g.mul(g.sub(update.next(), before), share))] };
      },
      compute: ({ parameter, update, slots, runStep }) => {
        const next = zipped(parameter, update, (w, u) => w - u);
        const past = runStep > 1 ? decay : 0;
        return {
          update,
          slots: [zipped(slotAt(slots, 0), next, (before, w) => past * before + (1 - past) * w)],
        };
      },
    }),
);

/** 1 at the first update, then 1 − decay. */
const shareOfNew = (g: Emit, decay: number, step: Typed): Typed =>
  g.once(`share of an average ${decay} ${step.name}`, () =>
    g.where(g.greater(step, 1), g.scalar(1 - decay, step.type), 1),
  );
