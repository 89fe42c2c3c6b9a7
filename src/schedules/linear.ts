import { share } from "../numbers.ts";
import { afterWarmup, type Duration } from "./duration.ts";
import { checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link linear}. */
export interface LinearOptions {
  /** A linear rise at the beginning; default 0 steps. */
  readonly warmup?: Duration;
  /** The factor that it falls to, 0 (default) to 1. */
  readonly floor?: number;
}

/**
 * Falls linearly from 1, at the first step after the warmup, towards `floor`, which the step after the last one would reach
 * (Hugging Face's get_linear_schedule_with_warmup; there the warmup begins with a step of rate 0, here with 1/warmup).
 * @throws UsageError for a value out of range.
 *
 * @example
 * linear({ warmup: "10%" })(50, 1000); // 0.5
 */
export function linear({ warmup = 0, floor = 0 }: LinearOptions = {}): Schedule {
  checkOption("linear", "floor", floor, share);
  return afterWarmup(
    "linear",
    warmup,
    (step, totalSteps) => floor + (1 - floor) * Math.max(0, 1 - (step - 1) / Math.max(1, totalSteps)),
  );
}

/** {@link linear} in the table. */
export const linearEntry: ScheduleEntry = {
  name: "linear",
  summary: "falls linearly to `floor`",
  options: { warmup: 0, floor: 0 },
  make: linear,
};
