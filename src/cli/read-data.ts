import type { DataConversion } from "../data/conversion.ts";
import type { DataOptions } from "../data/options.ts";
import { channelStatistics } from "../data/statistics.ts";
import { UsageError } from "../errors.ts";
import { loadData, type Model, type Normalization, type SplitData } from "../index.ts";
import { objectiveNamed, objectiveNames } from "../losses/table.ts";
import { arraysOfTerm } from "../losses/text.ts";
import { nameAndOptions } from "../name-and-options.ts";
import type { TrainingDataFlags } from "./data-flags.ts";
import { given } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** Flags that say how to read data, and those of the run that decide what is held out. */
interface ReadFlags extends TrainingDataFlags {
  readonly dim?: Readonly<Record<string, number>>;
  readonly validation?: number;
  readonly seed?: number;
  readonly objective?: readonly string[];
}

/** Whether a loss is that of a language model, which makes labels of tokens. */
const isOfLanguage = (objective: string): boolean => /^(causal|masked)-lm(:|$)/.test(objective);

/** Whether a loss reads embeddings of texts that stay apart. */
const readsEmbeddings = (objective: string): boolean => {
  const { name } = nameAndOptions(objective);
  return objectiveNames.includes(name) && objectiveNamed(name).embeds !== undefined;
};

/** Data, and how they are scaled when they are fed; undefined if model and data decide that. */
export type ReadData = SplitData & { readonly normalize: Normalization | undefined };

/**
 * Reads the data that `--data` names, as the flags say, and prints remarks about them.
 * @param to - the model to feed, and how the data of its training run were converted: other data are converted alike; `measures`:
 * no loss says what belongs together, so that names of columns do (anchor, positive, negative)
 */
export async function readData(
  spec: string,
  terminal: Terminal,
  flags: ReadFlags,
  {
    model,
    conversion,
    measures = false,
  }: {
    readonly model: Model;
    readonly conversion: DataConversion | undefined;
    readonly measures?: boolean;
  },
): Promise<ReadData> {
  const { label, columns, missing, standardize, resize, validation, seed, dim } = flags;
  const { mixup: _, ...changes } = flags.augment ?? {};
  const augment = Object.keys(changes).length > 0 ? changes : undefined;
  const { tokenizer, length, text, truncation, objective } = flags;
  const languageModel = objective === undefined ? undefined : objective.some(isOfLanguage);
  const apart = objective?.some(readsEmbeddings) ?? (measures ? undefined : false);
  const own = given({ label, columns, missing, standardize, resize, augment, validation, seed });
  const targets = (objective ?? []).flatMap(arraysOfTerm);
  const ofText = given({ tokenizer, length, text, truncation, languageModel, apart });
  const options: DataOptions = { ...own, ...ofText, targets, ...given({ model, dims: dim, conversion }) };
  const data = await loadData(spec, options);
  if (resize !== undefined && !data.conversion?.images) {
    throw new UsageError(`${spec}: --resize belongs to folders of images`);
  }
  for (const remark of data.remarks ?? []) terminal.note(remark);
  const normalize =
    flags.normalize === "data"
      ? await channelStatistics(data.train, { validation, seed })
      : (flags.normalize ?? conversion?.normalize);
  return { ...data, normalize };
}
