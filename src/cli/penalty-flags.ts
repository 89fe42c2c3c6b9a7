import { type Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import type { PenaltyPlan } from "../penalties/plan.ts";
import { penaltyNamed, penaltyNames } from "../penalties/table.ts";
import { given, number, pattern, repeated } from "./options.ts";

/** Flags of the commands that take penalties. */
export interface PenaltyFlags {
  readonly penalty?: readonly string[];
  readonly weight?: number;
  readonly lambda1?: number;
  readonly lambda2?: number;
  readonly gamma?: number;
  readonly reduction?: string;
  readonly include?: RegExp;
  readonly exclude?: RegExp;
}

/** Declares the flags that choose penalties, their options and their layers. */
export function addPenaltyFlags(command: Command, standard = "som"): void {
  command
    .option(
      "--penalty <name>",
      `${penaltyNames.join(", ")} or none; may be given several times (default: ${standard})`,
      repeated(String),
    )
    .option("--weight <number>", "weight of the penalty in the loss (default: 1)", number)
    .option("--lambda1 <number>", "som: weight of the squared mean of the cosines (default: 100)", number)
    .option("--lambda2 <number>", "som: weight of the mean of the squared cosines (default: 1)", number)
    .option("--gamma <number>", "som: steepness of tanh(γ·response) (default: 10)", number)
    .addOption(
      new Option("--reduction <how>", "som: over the pairs of units (default: mean)").choices([
        "mean",
        "sum",
      ]),
    )
    .option("--include <pattern>", "only layers whose name matches this regular expression", pattern)
    .option("--exclude <pattern>", "no layers whose name matches this regular expression", pattern);
}

/** Whether any flag speaks of a penalty. */
export function asksForPenalty(flags: PenaltyFlags): boolean {
  const { penalty, weight, lambda1, lambda2, gamma, reduction, include, exclude } = flags;
  return (
    Object.keys(given({ penalty, weight, lambda1, lambda2, gamma, reduction, include, exclude })).length > 0
  );
}

/**
 * The penalties that the flags ask for, each for the layers that they choose; `none` is no penalty.
 * @throws UsageError for contradictions and for options that a penalty does not have.
 */
export function penaltiesOf(flags: PenaltyFlags): PenaltyPlan[] {
  const names = flags.penalty ?? ["som"];
  const { lambda1, lambda2, gamma, reduction, weight, include, exclude } = flags;
  const options = given({ lambda1, lambda2, gamma, reduction });
  const choice = given({ weight, include, exclude });
  if (!names.includes("none")) {
    return names.map((name) => ({ penalty: penaltyNamed(name, options), ...choice }));
  }
  const others = [
    ...names.filter((name) => name !== "none").map((name) => `--penalty ${name}`),
    ...Object.keys({ ...options, ...choice }).map((flag) => `--${flag}`),
  ];
  if (others.length > 0) {
    throw new UsageError(`--penalty none means no penalty at all; leave out ${others.join(", ")}`);
  }
  return [];
}
