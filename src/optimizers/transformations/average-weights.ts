import { decayRate } from "../../numbers.ts";
import { defineTransformation } from "../define.ts";
import { alike, eachParameter, zipped } from "../each-parameter.ts";
import { slotAt } from "../optimizer.ts";

/**
 * Keeps an exponential moving average of the parameters beside them, ema ← d·ema + (1−d)·w of the updated w, from the initial
 * parameters on. One slot, `ema`. It does not change the updates; put it last in a chain. `Trainer.export` writes the
 * parameters themselves; `withWeights` makes a model with the averages.
 *
 * @example
 * const trainer = await Trainer.create(model, { objective: crossEntropy(), optimizer: chain(adamw(), averageWeights(0.999)) });
 * // … after training:
 * const { slots, statistics } = trainer.state();
 * const averages = [...slots].map(([name, own]) => [name, own.get("ema") as Tensor] as const);
 * await writeModel(withWeights(model, new Map([...averages, ...statistics])), "averaged.onnx");
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
      emit: (g, { update, slots }) => {
        const before = slotAt(slots, 0);
        return { update, slots: [g.add(before, g.mul(g.sub(update.next(), before), 1 - decay))] };
      },
      compute: ({ parameter, update, slots }) => {
        const next = zipped(parameter, update, (w, u) => w - u);
        return {
          update,
          slots: [zipped(slotAt(slots, 0), next, (before, w) => decay * before + (1 - decay) * w)],
        };
      },
    }),
);
