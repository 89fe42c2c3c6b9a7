import type { Command } from "commander";
import { pattern } from "./options.ts";

/** Flags that decide which initializers are parameters. */
export interface ParameterFlags {
  readonly trainable?: RegExp;
  readonly freeze?: RegExp;
  readonly tie?: RegExp;
  readonly untie?: RegExp;
}

/** Declares them. */
export function addParameterFlags(command: Command): void {
  command
    .option("--trainable <pattern>", "train only initializers whose name matches, whatever they are", pattern)
    .option("--freeze <pattern>", "do not train initializers whose name matches", pattern)
    .option("--tie <pattern>", "initializers read in several places that stay one parameter", pattern)
    .option("--untie <pattern>", "initializers that become one parameter for each reader", pattern);
}
