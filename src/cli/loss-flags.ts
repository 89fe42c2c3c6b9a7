import type { Command } from "commander";
import { objectiveNamed, objectiveNames } from "../objectives/table.ts";
import type { LossOptions } from "../training/options.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "./dimension-flags.ts";
import { given } from "./options.ts";
import { addParameterFlags, type ParameterFlags, parametersOf } from "./parameter-flags.ts";

/** Flags of the commands that differentiate a loss. */
export interface LossFlags extends DimensionFlags, ParameterFlags {
  readonly objective?: string;
  readonly loss?: string;
  readonly prediction?: string;
  readonly recompute?: boolean;
}

/** Declares the flags that say what the loss is and what counts as a parameter. */
export function addLossFlags(command: Command, batchMeaning: string): void {
  command
    .option("--objective <name>", `what compares the prediction with labels: ${objectiveNames.join(", ")}`)
    .option("--loss <name>", "the model's own output that is its loss, in place of an objective")
    .option(
      "--prediction <name>",
      "the value that the objective reads, an output or an inner value (default: the first output of floats)",
    )
    .option(
      "--recompute",
      "keep fewer activations: cheap ones are computed again, the numbers stay the same",
    );
  addParameterFlags(command);
  addDimensionFlags(command, batchMeaning);
}

/** The library's options of these flags. */
export function lossOptionsOf(flags: LossFlags): Omit<LossOptions, "penalties" | "onMessage"> {
  const { objective, loss, prediction, recompute } = flags;
  return {
    ...dimensionsOf(flags),
    ...parametersOf(flags),
    ...given({ loss, output: prediction, recompute }),
    ...(objective !== undefined && { objective: objectiveNamed(objective) }),
  };
}
