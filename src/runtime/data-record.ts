import { conversionOf, type DataConversion } from "../data/conversion.ts";
import type { SplitData } from "../data/split-data.ts";
import { given } from "../given.ts";
import { isStorable, storedObjective } from "../losses/stored.ts";
import { normalizationFor } from "./batch-feeds.ts";
import { describeData } from "./describe-data.ts";
import type { Trainer } from "./trainer.ts";

/** The loss of a run, for the record that its model keeps; nothing for one that does not stand alone. */
export function recordOfObjective({
  options: { objective: loss, output, teacher },
}: Pick<Trainer, "options">): Pick<DataConversion, "objective"> {
  // A loss beside a teacher does not stand without it.
  if (!loss || teacher || !isStorable(loss)) return {};
  return { objective: { ...storedObjective(loss), ...(output !== undefined && { output }) } };
}

/** The record of a run's data that its model keeps. */
export function dataRecord(
  { train, conversion }: Pick<SplitData, "train" | "conversion">,
  trainer: Trainer,
): DataConversion {
  const { model, step, options } = trainer;
  const normalize = options.normalize ?? normalizationFor(train, { model, step });
  // Labels that are only numbers have the names that the model gives them, as --classes does.
  const classes = conversion?.classes ?? conversionOf(model)?.classes;
  const summary = describeData(train, step.ports, { normalize, classes });
  return {
    ...{ version: 1, ...conversion, ...given({ classes, normalize }) },
    ...recordOfObjective(trainer),
    summary,
  };
}
