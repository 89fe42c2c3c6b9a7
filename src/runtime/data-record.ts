import { conversionOf, type DataConversion } from "../data/conversion.ts";
import type { SplitData } from "../data/split-data.ts";
import { isObjective } from "../losses/terms.ts";
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
  const loss = options.objective && isObjective(options.objective) ? options.objective : undefined;
  const ofTexts = loss?.perplexity ?? loss?.embeds;
  const objective = ofTexts && loss && { name: loss.name, options: loss.options };
  return {
    ...{
      version: 1,
      ...conversion,
      ...(classes && { classes }),
      ...(normalize !== undefined && { normalize }),
    },
    ...(objective && { objective }),
    summary,
  };
}
