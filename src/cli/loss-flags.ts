import type { Command } from "commander";
import { objectiveNamed, objectiveNames } from "../objectives/table.ts";
import type { LossOptions } from "../training/options.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "./dimension-flags.ts";
import { given, pattern } from "./options.ts";

/** Flags of the commands that differentiate a loss. */
export interface LossFlags extends DimensionFlags {
  readonly objective?: string;
  readonly loss?: string;
  readonly prediction?: string;
  readonly trainable?: RegExp;
  readonly freeze?: RegExp;
  readonly tie?: RegExp;
  readonly untie?: RegExp;
}

/** Declares the flags that say what the loss is and what counts as a parameter. */
export function addLossFlags(command: Command): void {
  command
    .option("--objective <name>", `what compares the prediction with labels: ${objectiveNames.join(", ")}`)
    .option("--loss <name>", "the model's own output that is its loss, in place of an objective")
    .option("--prediction <name>", "the output that the objective reads (default: the first)")
    .option("--trainable <pattern>", "parameters: only initializers whose name matches", pattern)
    .option("--freeze <pattern>", "no parameters: initializers whose name matches", pattern)
    .option("--tie <pattern>", "initializers read in several places that stay one parameter", pattern)
    .option("--untie <pattern>", "initializers that become one parameter for each reader", pattern);
  addDimensionFlags(command, "batch size, where the model leaves it open");
}

/** The library's options of these flags. */
export function lossOptionsOf(flags: LossFlags): Omit<LossOptions, "penalties" | "onMessage"> {
  const { objective, loss, prediction, trainable, freeze, tie, untie } = flags;
  return {
    ...dimensionsOf(flags),
    ...given({ loss, output: prediction, trainable, freeze, tie, untie }),
    ...(objective !== undefined && { objective: objectiveNamed(objective) }),
  };
}
