import type { Command } from "commander";
import { UsageError } from "../errors.ts";
import { type Model, trainablePart } from "../index.ts";
import type { AdapterFlags } from "./adapter-flags.ts";
import { given, positiveInteger } from "./options.ts";
import { type ParameterFlags, parametersOf } from "./parameter-flags.ts";

/** Flags that train a part of a model alone. */
export interface PartFlags {
  readonly bitfit?: boolean;
  readonly lastBlocks?: number;
}

/** Declares the flags that train a part of a model alone. */
export function addPartFlags(command: Command): void {
  command
    .option(
      "--bitfit",
      "train the biases alone, those of normalizations too, and a new last layer (--classes)",
    )
    .option(
      "--last-blocks <count>",
      "train only this number of the last blocks, and what comes after them; blocks are what names number, as encoder.layer.11",
      positiveInteger,
    );
}

/**
 * The part of a model that the flags train alone, as a pattern; undefined where they name none.
 * @param withHead - whether the last layer is fresh
 * @throws UsageError for flags that contradict each other
 */
export async function partOf(
  model: Model,
  flags: PartFlags & ParameterFlags & AdapterFlags,
  withHead: boolean,
  onMessage: (message: string) => void,
): Promise<RegExp | undefined> {
  const { bitfit, lastBlocks, trainable, lora, adapterFrom } = flags;
  if (!bitfit && lastBlocks === undefined) return undefined;
  const own = bitfit ? "--bitfit" : "--last-blocks";
  const others = {
    "--last-blocks": bitfit && lastBlocks !== undefined,
    "--lora": lora !== undefined || adapterFrom !== undefined,
    "--trainable": trainable?.some(({ adds }) => !adds),
  };
  const [other] = Object.entries(others).find(([, isGiven]) => isGiven) ?? [];
  if (other) throw new UsageError(`${own} and ${other} each say what is trained: leave one out`);
  const { alsoTrain, freeze, tie, untie } = parametersOf(flags);
  const part = bitfit ? "biases" : { lastBlocks: lastBlocks ?? 1 };
  return trainablePart(model, part, { ...given({ alsoTrain, freeze, tie, untie }), withHead, onMessage });
}
