import { conversionOf, type DataConversion } from "../data/conversion.ts";
import type { SplitData } from "../data/split-data.ts";
import { given } from "../given.ts";
import { isStorable, storedObjective } from "../losses/stored.ts";
import { normalizationFor } from "./batch-feeds.ts";
import { describeData } from "./describe-data.ts";
import type { Trainer } from "./trainer.ts";

/** The record of a run's data that its model keeps. */
export function dataRecord(
  { train, conversion }: Pick<SplitData, "train" | "conversion">,
  { model, step, options }: Trainer,
): DataConversion {
  const normalize = options.normalize ?? normalizationFor(train, { model, step });
  // Labels that are only numbers have the names that the model gives them, as --classes does.
  const classes = conversion?.classes ?? conversionOf(model)?.classes;
  const summary = describeData(train, step.ports, { normalize, classes });
  const { objective: loss, output, teacher } = options;
  // A loss beside a teacher does not stand without it.
  const objective = loss && !teacher && isStorable(loss) ? storedObjective(loss) : undefined;
  return {
    ...{ version: 1, ...conversion, ...given({ classes, normalize }) },
    ...(objective && { objective: { ...objective, ...(output !== undefined && { output }) } }),
    summary,
  };
}
