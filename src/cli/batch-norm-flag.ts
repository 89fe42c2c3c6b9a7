import { type Command, InvalidArgumentError } from "commander";
import { trainedSamples } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Normalization } from "../data/normalize.ts";
import { messageOf, UsageError } from "../errors.ts";
import { type Model, recoverBatchNorm } from "../index.ts";
import { nameAndOptions } from "../name-and-options.ts";
import type { TrainerOptions } from "../runtime/trainer-options.ts";
import { type DimensionFlags, dimensionsOf } from "./dimension-flags.ts";
import { given, pattern, positiveInteger } from "./options.ts";

/** The flag that says how BatchNorm is trained. */
export interface BatchNormFlag {
  /** `train`, `frozen`, or `recover` with options. */
  readonly batchNorm?: string;
}

const forms = ["train", "frozen"] as const;

/**
 * Declares `--batch-norm`.
 * @param recovers - whether the command has data, from which a folded BatchNorm can be recovered
 */
export function addBatchNormFlag(command: Command, { recovers }: { readonly recovers: boolean }): void {
  const meaning = "normalize with batch statistics (train) or with the stored ones (frozen)";
  const folded =
    "; recover[:samples=N,include=RE,exclude=RE]: put back the BatchNorm that the exporter folded into the layers, from its statistics on the data, and fold it again at the end";
  command.option(
    "--batch-norm <how>",
    `${meaning}${recovers ? folded : ""}; default: train`,
    (text: string) => {
      const known: readonly string[] = recovers ? [...forms, "recover"] : forms;
      const { name } = nameAndOptions(text);
      if (name === "recover" && recovers) optionsIn(text);
      if (name === "recover" ? recovers : known.includes(text)) return text;
      throw new InvalidArgumentError(`Allowed choices are ${known.join(", ")}.`);
    },
  );
}

/** The form in which BatchNorm is trained: a recovered one with batch statistics. */
export function batchNormOf({ batchNorm }: BatchNormFlag): Pick<TrainerOptions, "batchNorm"> {
  const form = forms.find((one) => one === batchNorm);
  return form ? { batchNorm: form } : {};
}

/** Whether BatchNorm is to be recovered. */
const recoversBatchNorm = ({ batchNorm }: BatchNormFlag): boolean =>
  batchNorm !== undefined && nameAndOptions(batchNorm).name === "recover";

/** The model with its BatchNorm back, if the flags ask for it. */
export async function withRecoveredBatchNorm(
  model: Model,
  data: Dataset,
  flags: BatchNormFlag &
    DimensionFlags & { readonly seed?: number; readonly threads?: number; readonly validation?: number },
  {
    normalize,
    ...others
  }: {
    readonly normalize: Normalization | undefined;
    readonly onMessage: (message: string) => void;
    readonly signal: AbortSignal | undefined;
  },
): Promise<Model> {
  if (!recoversBatchNorm(flags)) return model;
  const { seed, threads } = flags;
  return recoverBatchNorm(model, trainedSamples(data, flags), {
    ...optionsIn(flags.batchNorm ?? ""),
    ...dimensionsOf(flags),
    ...given({ seed, threads, normalize, signal: others.signal }),
    onMessage: others.onMessage,
  });
}

/** @throws UsageError for an option that is unknown, or a value that it does not take */
function optionsIn(text: string): { samples?: number; include?: RegExp; exclude?: RegExp } {
  const found: { samples?: number; include?: RegExp; exclude?: RegExp } = {};
  for (const [key, value] of nameAndOptions(text).options) {
    try {
      if (key === "samples") found.samples = positiveInteger(value);
      else if (key === "include" || key === "exclude") found[key] = pattern(value);
      else throw new UsageError("there is no such option; known are samples, include, exclude");
    } catch (error) {
      throw new UsageError(`--batch-norm ${text}: ${key}: ${messageOf(error)}`);
    }
  }
  return found;
}
