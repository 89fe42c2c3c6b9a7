import { positive } from "../numbers.ts";
import { afterWarmup, type Duration, durationOf, noWarmup, type WarmupOptions } from "./duration.ts";
import { checkNames, checkOption, refused, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link milestones}. */
export interface MilestonesOptions extends WarmupOptions {
  /** The steps after which the factor drops: `[30_000, 60_000]`, or as text `30ep/60ep`. */
  readonly at: readonly Duration[] | Duration | string;
  /** The share of the factor that remains after a drop; torch's `gamma`. Default 0.1. */
  readonly factor?: number;
}

/**
 * Multiplies the factor by `factor` after each milestone (torch's MultiStepLR).
 * @throws UsageError for a value out of range.
 *
 * @example
 * milestones({ at: ["30ep", "60ep"] })(3001, 9000, { stepsPerEpoch: 100 }); // 0.1
 */
export function milestones(options: MilestonesOptions): Schedule {
  checkNames(options, milestonesEntry);
  const { at, factor = 0.1, ...rise } = options;
  const given = typeof at === "object" ? at : `${at}`.split("/").map(stepsOrText);
  if (given.length === 0) throw refused("at", "milestones", "a list with at least one step", "empty");
  const marks = given.map((mark) => durationOf("milestones", "at", mark, 1));
  checkOption("milestones", "factor", factor, positive);
  return afterWarmup(
    "milestones",
    rise,
    (step, totalSteps, run) => factor ** marks.filter((stepsOf) => stepsOf(totalSteps, run) < step).length,
  );
}

const stepsOrText = (text: string) => (/^\d+$/.test(text) ? Number(text) : text);

/** {@link milestones} in the table. */
export const milestonesEntry: ScheduleEntry = {
  name: "milestones",
  summary: "is multiplied by `factor` after each of the steps `at` (1000/2000, 30ep/60ep)",
  options: { at: undefined, factor: 0.1, ...noWarmup },
  make: milestones,
};
