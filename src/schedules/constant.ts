import { afterWarmup, noWarmup, type WarmupOptions } from "./duration.ts";
import type { Schedule, ScheduleEntry } from "./schedule.ts";
import { checkNames } from "./schedule.ts";

/** Options of {@link constant}. */
export type ConstantOptions = WarmupOptions;

/** A factor that is always 1, after a warmup if there is one. */
export const constant = (rise: ConstantOptions = {}): Schedule => {
  checkNames(rise, constantEntry);
  return afterWarmup("constant", rise, () => 1);
};

/** {@link constant} in the table. */
export const constantEntry: ScheduleEntry = {
  name: "constant",
  summary: "always 1",
  options: noWarmup,
  make: constant,
};
