import { afterWarmup, type Duration } from "./duration.ts";
import type { Schedule, ScheduleEntry } from "./schedule.ts";

/** Options of {@link constant}. */
export interface ConstantOptions {
  /** A linear rise at the beginning; default 0 steps. */
  readonly warmup?: Duration;
}

/** A factor that is always 1, after a warmup if there is one. */
export const constant = ({ warmup = 0 }: ConstantOptions = {}): Schedule =>
  afterWarmup("constant", warmup, () => 1);

/** {@link constant} in the table. */
export const constantEntry: ScheduleEntry = {
  name: "constant",
  summary: "always 1",
  options: { warmup: 0 },
  make: constant,
};
