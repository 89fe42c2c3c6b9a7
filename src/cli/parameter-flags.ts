import type { Command } from "commander";
import type { ParameterOptions } from "../analysis/parameters.ts";
import type { ShareOptions } from "../analysis/shared-initializers.ts";
import { either, given, pattern, patterns } from "./options.ts";

/** Flags that decide which initializers are parameters. */
export interface ParameterFlags {
  readonly trainable?: readonly TrainableFlag[];
  readonly freeze?: RegExp;
  readonly tie?: RegExp;
  readonly untie?: RegExp;
}

/** One `--trainable`: with a plus it adds to what is trained, without it is all that is trained. */
interface TrainableFlag {
  readonly adds: boolean;
  readonly pattern: RegExp;
}

/** Declares them. */
export function addParameterFlags(command: Command): void {
  const trainable = (text: string, before: readonly TrainableFlag[] = []): TrainableFlag[] => {
    const adds = text.startsWith("+");
    return [...before, { adds, pattern: pattern(adds ? text.slice(1) : text) }];
  };
  command
    .option(
      "--trainable <pattern>",
      "train only parameters and layers whose name matches, whatever they are; +<pattern> trains them too",
      trainable,
    )
    .option("--freeze <pattern>", "do not train parameters and layers whose name matches", patterns)
    .option("--tie <pattern>", "initializers read in several places that stay one parameter", patterns)
    .option("--untie <pattern>", "initializers that become one parameter for each reader", patterns);
}

/** The library's options of these flags. */
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
