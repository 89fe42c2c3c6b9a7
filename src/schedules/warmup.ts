import { countFromZero } from "../numbers.ts";
import { checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/**
 * Rises linearly: step/steps, and 1 from `steps` on.
 * @throws UsageError unless `steps` is a whole number of 0 or more.
 */
export function warmup(steps: number): Schedule {
  checkOption("warmup", "steps", steps, countFromZero);
  return (step) => (step < steps ? step / steps : 1);
}

/** {@link warmup} in the table. */
export const warmupEntry: ScheduleEntry = {
  name: "warmup",
  summary: "rises linearly to 1, which it reaches at step `steps`",
  options: { steps: undefined },
  make: ({ steps = 0 }) => warmup(steps),
};
