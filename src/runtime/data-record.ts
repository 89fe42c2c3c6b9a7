import { conversionOf, type DataConversion } from "../data/conversion.ts";
import type { SplitData } from "../data/split-data.ts";
import { given } from "../given.ts";
import { objectiveText } from "../losses/objective-text.ts";
import { isStorable, storedObjective } from "../losses/stored.ts";
import { normalizationFor } from "./batch-feeds.ts";
import { describeData } from "./describe-data.ts";
import type { Trainer } from "./trainer.ts";

/** The loss of a run, for the record that its model keeps; nothing for a loss beside a teacher, which nobody can compute without the teacher. */
export function recordOfObjective({
  options: { objective, loss, output, teacher },
}: Pick<Trainer, "options">): Pick<DataConversion, "objective" | "loss" | "ownLoss"> {
  if (loss !== undefined) return { loss };
  if (!objective || teacher) return {};
  if (!isStorable(objective)) return { ownLoss: objectiveText(objective) };
  return { objective: { ...storedObjective(objective), ...given({ output }) } };
}

/** A record for a model that another loss trains. */
export function withoutLoss(record: DataConversion = { version: 1 }): DataConversion {
  const { objective: _, loss: __, ownLoss: ___, ...others } = record;
  return others;
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
  // In the same order whether the run is new or goes on: its model is to have the same bytes.
  const { summary: _, ...others } = withoutLoss(conversion);
  return {
    ...{ ...others, ...given({ classes, normalize }) },
    ...recordOfObjective(trainer),
    summary,
  };
}
