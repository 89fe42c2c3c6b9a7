import type { Command } from "commander";
import type { ParameterOptions } from "../analysis/parameters.ts";
import type { ShareOptions } from "../analysis/shared-initializers.ts";
import { either, given, pattern, patterns } from "./options.ts";

/** Flags that determine which initializers are parameters. */
export interface ParameterFlags {
  readonly trainable?: readonly TrainableFlag[];
  readonly freeze?: RegExp;
  readonly tie?: RegExp;
  readonly untie?: RegExp;
}

/** One `--trainable`: with a plus it adds to the default parameters, without it it replaces them. */
interface TrainableFlag {
  readonly adds: boolean;
  readonly pattern: RegExp;
}

/** Declares the flags that determine which initializers are parameters. */
export function addParameterFlags(command: Command): void {
  const trainable = (text: string, before: readonly TrainableFlag[] = []): TrainableFlag[] => {
    const adds = text.startsWith("+");
    return [...before, { adds, pattern: pattern(adds ? text.slice(1) : text) }];
  };
  command
    .option(
      "--trainable <pattern>",
      "train exactly the parameters and layers whose name matches; +<pattern> trains them in addition to the default ones",
      trainable,
    )
    .option("--freeze <pattern>", "do not train parameters and layers whose name matches", patterns)
    .option(
      "--tie <pattern>",
      "keep matching initializers that several nodes read as one shared parameter",
      patterns,
    )
    .option("--untie <pattern>", "split matching initializers into one parameter per reading node", patterns);
}

/** The library's options for these flags. */
export function parametersOf({
  trainable = [],
  freeze,
  tie,
  untie,
}: ParameterFlags): ParameterOptions & ShareOptions {
  const of = (adds: boolean) =>
    trainable
      .filter((one) => one.adds === adds)
      .map((one) => one.pattern)
      .reduce<RegExp | undefined>((all, one) => either(all, one), undefined);
  return given({ trainable: of(false), alsoTrain: of(true), freeze, tie, untie });
}
