import { type Duration, durationOf } from "./duration.ts";
import type { Schedule, ScheduleEntry } from "./schedule.ts";

/**
 * Rises linearly: step/steps, and 1 from `steps` on. Other schedules have an option `warmup` for the same.
 * @throws UsageError unless `steps` is a whole number of 0 or more, or as in `2ep` or `10%`.
 */
export function warmup(steps: Duration): Schedule {
  const stepsOf = durationOf("warmup", "steps", steps, 0);
  return (step, totalSteps, run) => Math.min(1, step / Math.max(1, stepsOf(totalSteps, run)));
}

/** {@link warmup} in the table. */
export const warmupEntry: ScheduleEntry = {
  name: "warmup",
  summary: "rises linearly to 1, which it reaches at step `steps`",
  options: { steps: undefined },
  make: ({ steps }: { readonly steps: Duration }) => warmup(steps),
};
