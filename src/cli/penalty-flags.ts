import { type Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import { notNegative, positive } from "../numbers.ts";
import { allPenaltyDefinitions, anyPenaltyNamed } from "../penalties/adapters/table.ts";
import type { PenaltyPlan } from "../penalties/plan.ts";
import { penaltyNamed } from "../penalties/table.ts";
import { parsePlan } from "../penalties/text.ts";
import { parseSchedule } from "../schedules/table.ts";
import { addHelpList } from "./help-list.ts";
import { given, numberIn, patterns, repeated } from "./options.ts";

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
      "--penalty <name[:key=value,...]>",
      `a penalty from the list below, or none; its options, weight, include, exclude and schedule may follow: ` +
        `"so:weight=0.01,include=^conv"; repeatable (default: ${standard})`,
      repeated(String),
    )
    .option(
      "--weight <number>",
      "weight of penalties given without one (default: each penalty's default weight, 0.1 for som)",
      numberIn(notNegative),
    )
    .option(
      "--lambda1 <number>",
      "som: weight of the squared mean of the cosines (default: 0; the source has 100, see --penalty som:preset=source)",
      numberIn(notNegative),
    )
    .option(
      "--lambda2 <number>",
      "som: weight of the mean of the squared cosines (default: 1)",
      numberIn(notNegative),
    )
    .option("--gamma <number>", "som: steepness of tanh(γ·response) (default: 10)", numberIn(positive))
    .addOption(
      new Option("--reduction <how>", "som: mean or sum over the pairs of units (default: mean)").choices([
        "mean",
        "sum",
      ]),
    )
    .option("--include <pattern>", "only layers whose name matches this regular expression", patterns)
    .option("--exclude <pattern>", "not the layers whose name matches this regular expression", patterns);
  addHelpList(
    command,
    "Penalties, with the defaults of their options:",
    allPenaltyDefinitions.map(({ name, summary = "", weight = 1, defaults }) => {
      const options = Object.entries(defaults).map(([option, value]) => `${option}=${value}`);
      return { name, text: `${summary}; ${[`weight=${weight}`, ...options].join(", ")}` };
    }),
  );
}

/** The flags of penalties that are given. */
function penaltyFlagsIn(flags: PenaltyFlags): string[] {
  const { penalty, weight, lambda1, lambda2, gamma, reduction, include, exclude } = flags;
  return Object.keys(given({ penalty, weight, lambda1, lambda2, gamma, reduction, include, exclude }));
}

/** Whether any flag concerns penalties. */
export function asksForPenalty(flags: PenaltyFlags): boolean {
  return penaltyFlagsIn(flags).length > 0;
}

/** Why a run has no penalty. @throws UsageError for flags that choose one nevertheless */
export function unpairedText(reason: string, flags: PenaltyFlags): string {
  const refused = penaltyFlagsIn(flags).map((name) => `--${name}`);
  if (refused.length === 0) return `no penalty: ${reason}`;
  throw new UsageError(`there is no penalty, because ${reason}: leave out ${refused.join(", ")}`);
}

/**
 * Refuses flags that choose penalties for a model into which a penalty was injected.
 * @param taken - flags that are allowed nevertheless
 * @throws UsageError that names the refused flags
 */
export function checkBesideOwnPenalty(
  flags: PenaltyFlags,
  taken: readonly (keyof PenaltyFlags)[] = [],
): void {
  const refused = penaltyFlagsIn(flags).filter((name) => !taken.some((one) => one === name));
  if (refused.length === 0) return;
  throw new UsageError(
    `the model has an injected penalty with its own options: leave out ${refused.map((name) => `--${name}`).join(", ")}, or strip the model first`,
  );
}

/**
 * The penalties that the flags request, each with its layers; none for `--penalty none`.
 * @throws UsageError for contradictory flags and for options that a penalty does not have
 */
export function penaltiesOf(flags: PenaltyFlags): PenaltyPlan[] {
  const texts = flags.penalty ?? ["som"];
  const { lambda1, lambda2, gamma, reduction, weight, include, exclude } = flags;
  const options = given({ lambda1, lambda2, gamma, reduction });
  const choice = given({ weight, include, exclude });
  if (texts.includes("none")) {
    const others = [
      ...texts.filter((text) => text !== "none").map((text) => `--penalty ${text}`),
      ...Object.keys({ ...options, ...choice }).map((flag) => `--${flag}`),
    ];
    if (others.length === 0) return [];
    throw new UsageError(`--penalty none means no penalty at all; leave out ${others.join(", ")}`);
  }
  const plans = texts.map(parsePlan);
  for (const { schedule } of plans) if (typeof schedule === "string") parseSchedule(schedule);
  for (const key of ["weight", "include", "exclude"] as const) {
    if (choice[key] === undefined || plans.some((plan) => plan[key] === undefined)) continue;
    throw new UsageError(`every --penalty gives its own ${key}; leave out --${key}`);
  }
  if (Object.keys(options).length === 0) return plans.map((plan) => ({ ...choice, ...plan }));
  // Flags that only som has. They must not override the options in som's own text, and are an error without som.
  const taking = plans.filter(({ penalty }) => penalty.definition.name === "som");
  if (taking.length === 0) anyPenaltyNamed(plans[0]?.penalty.definition.name ?? "", options);
  return plans.map((plan) => {
    if (!taking.includes(plan)) return { ...choice, ...plan };
    const { definition, options: own } = plan.penalty;
    const said = Object.entries(own).filter(([key, value]) => value !== definition.defaults[key]);
    const clash = said.map(([key]) => key).find((key) => Object.hasOwn(options, key));
    if (clash) throw new UsageError(`--penalty som says ${clash} already; leave out --${clash}`);
    return { ...choice, ...plan, penalty: penaltyNamed("som", { ...own, ...options }) };
  });
}
