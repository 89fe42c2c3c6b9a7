import { share } from "../numbers.ts";
import { afterWarmup, noWarmup, type WarmupOptions } from "./duration.ts";
import { checkNames, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link linear}. */
export interface LinearOptions extends WarmupOptions {
  /** The factor that it falls to, 0 (default) to 1. */
  readonly floor?: number;
}

/**
 * Falls linearly from 1, at the first step after the warmup, towards `floor`, which the step after the last one would reach
 * (Hugging Face's get_linear_schedule_with_warmup, whose warmup begins with a step of rate 0: `warmupStart: 0`).
 * @throws UsageError for a value out of range.
 *
 * @example
 * linear({ warmup: "10%" })(50, 1000); // 0.5
 */
export function linear(options: LinearOptions = {}): Schedule {
  checkNames(options, linearEntry);
  const { floor = 0, ...rise } = options;
  checkOption("linear", "floor", floor, share);
  return afterWarmup(
    "linear",
    rise,
    (step, totalSteps) => floor + (1 - floor) * Math.max(0, 1 - (step - 1) / Math.max(1, totalSteps)),
  );
}

/** {@link linear} in the table. */
export const linearEntry: ScheduleEntry = {
  name: "linear",
  summary: "falls linearly to `floor`",
  options: { ...noWarmup, floor: 0 },
  make: linear,
};
