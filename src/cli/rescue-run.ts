import type { Command } from "commander";
import { type RescuedModel, Trainer } from "../index.ts";
import { optimizerNamed } from "../optimizers/table.ts";
import { modelFacts } from "../programs/model-facts.ts";
import { dimensionsOf } from "./dimension-flags.ts";
import { clipped } from "./optimizer-flags.ts";
import { given } from "./options.ts";
import { asksForPenalty } from "./penalty-flags.ts";
import { placementOf, type RunFlags, type TrainingFlags, trainerOptions } from "./train-flags.ts";

/** Goes on with a run of ONNX Runtime's training API as the flags say; what they leave open stays as it was. */
export function beginRescued(
  run: RescuedModel,
  flags: RunFlags & TrainingFlags,
  command: Command,
  onMessage: (message: string) => void,
): Promise<Trainer> {
  const { block, freeBatch } = modelFacts(run.model, dimensionsOf(flags));
  // --prediction names the output of the inference model that is written at the end.
  const { output: _, ...options } = trainerOptions(
    { ...flags, loss: flags.loss ?? run.options.loss },
    {
      // Losses go on as they were: no penalty is added unless one is asked for.
      injected: block !== undefined || !asksForPenalty(flags),
      freeBatch,
    },
  );
  const { name, options: constants } = run.optimizer;
  return Trainer.rescue(run, {
    ...options,
    ...placementOf(flags),
    ...given({ normalize: flags.normalize }),
    ...(command.getOptionValueSource("optimizer") !== "cli" && {
      optimizer: clipped(
        flags,
        optimizerNamed(name, { ...constants, ...given({ weightDecay: flags.weightDecay }) }),
      ),
    }),
    onMessage,
  });
}
