import { UsageError } from "../errors.ts";
import { count, countFromZero, share } from "../numbers.ts";
import { checkOption, refused, type Schedule, type ScheduledRun, type ScheduleOption } from "./schedule.ts";

/** A number of steps, or a text: `2ep` (epochs) or `10%` (of the run's steps), rounded to whole steps. */
export type Duration = number | `${number}ep` | `${number}%`;

/** A {@link Duration} in steps, for a run. */
type StepsOf = (totalSteps: number, run: ScheduledRun | undefined) => number;

/**
 * Checks a duration.
 * @param least - the fewest steps that it may have: 0 or 1
 * @throws UsageError for what is no duration
 */
export function durationOf(schedule: string, option: string, value: ScheduleOption, least: 0 | 1): StepsOf {
  const { holds, words } = least === 0 ? countFromZero : count;
  if (typeof value === "number" && holds(value)) return () => value;
  const [, text = "", unit] = /^(\d*\.?\d+)(ep|%)$/.exec(typeof value === "string" ? value : "") ?? [];
  const amount = Number(text);
  if (unit === undefined || (least > 0 && amount === 0)) {
    throw refused(option, schedule, `${words} (steps), or as in 2ep (epochs) or 10% (of the run)`, value);
  }
  return (totalSteps, run) => {
    if (unit === "%") return Math.max(least, Math.round((amount / 100) * totalSteps));
    if (run) return Math.max(least, Math.round(amount * run.stepsPerEpoch));
    throw new UsageError(
      `option ${option} of the schedule ${schedule} counts epochs (${value}), and the steps of an epoch are not known here: give steps, or pass { stepsPerEpoch } to the schedule`,
    );
  };
}

/** A linear rise at the beginning of a schedule. */
export interface WarmupOptions {
  /** How long it lasts; default 0 steps. */
  readonly warmup?: Duration;
  /**
   * The factor of its first step, 0 to 1, from which it rises by equal steps to 1 at the step after it (torch's `start_factor` of
   * LinearLR; 0 in Hugging Face's schedules). Default: 1/warmup, so that it reaches 1 at its own last step and none has the factor 0.
   */
  readonly warmupStart?: number | "1/warmup";
}

/** {@link WarmupOptions} in the table. */
export const noWarmup = { warmup: 0, warmupStart: "1/warmup" } as const;

/**
 * A linear rise, and then a schedule, whose own steps and shares of the run count from the end of the rise (torch's SequentialLR of
 * LinearLR and the schedule).
 * @throws UsageError for what is no duration, and for a start without a warmup
 */
export function afterWarmup(name: string, options: WarmupOptions, schedule: Schedule): Schedule {
  const stepsOf = durationOf(name, "warmup", options.warmup ?? 0, 0);
  const factor = riseOf(name, options);
  return (step, totalSteps, run) => {
    const steps = stepsOf(totalSteps, run);
    return step <= steps ? factor(step, steps) : schedule(step - steps, Math.max(0, totalSteps - steps), run);
  };
}

/** The factor at a step of a linear rise over that many steps. @throws UsageError for a start that is no share, or has no warmup */
export function riseOf(
  name: string,
  { warmup = 0, warmupStart = "1/warmup" }: WarmupOptions,
): (step: number, steps: number) => number {
  if (warmupStart === "1/warmup") return (step, steps) => step / steps;
  checkOption(name, "warmup-start", warmupStart, share);
  if (warmup === 0) throw refused("warmup-start", name, "left out without a warmup", warmupStart);
  return (step, steps) => warmupStart + ((1 - warmupStart) * (step - 1)) / steps;
}
