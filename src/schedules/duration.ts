import { UsageError } from "../errors.ts";
import { count, countFromZero } from "../numbers.ts";
import { refused, type Schedule, type ScheduledRun, type ScheduleOption } from "./schedule.ts";

/** A number of steps, or a text: `2ep` (epochs) or `10%` (of the run's steps), rounded to whole steps. */
export type Duration = number | `${number}ep` | `${number}%`;

/** A {@link Duration} in steps, for a run. */
export type StepsOf = (totalSteps: number, run: ScheduledRun | undefined) => number;

/**
 * Checks a duration.
 * @param least - the fewest steps that it may have: 0 or 1
 * @throws UsageError for what is no duration
 */
export function durationOf(schedule: string, option: string, value: ScheduleOption, least: 0 | 1): StepsOf {
  const { holds, words } = least === 0 ? countFromZero : count;
  if (typeof value === "number" && holds(value)) return () => value;
  const [, text = "", unit] = /^(\d*\.?\d+)(ep|%)$/.exec(String(value)) ?? [];
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

/**
 * A linear rise, step/steps, and then a schedule, whose own steps and shares of the run count from the end of the rise
 * (torch's SequentialLR of LinearLR and the schedule).
 * @throws UsageError for what is no duration
 */
export function afterWarmup(name: string, warmup: Duration, schedule: Schedule): Schedule {
  const stepsOf = durationOf(name, "warmup", warmup, 0);
  return (step, totalSteps, run) => {
    const steps = stepsOf(totalSteps, run);
    return step <= steps ? step / steps : schedule(step - steps, Math.max(0, totalSteps - steps), run);
  };
}
