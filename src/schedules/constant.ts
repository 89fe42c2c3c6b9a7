import type { Schedule, ScheduleEntry } from "./schedule.ts";

/** A factor that is always 1. */
export const constant = (): Schedule => () => 1;

/** {@link constant} in the table. */
export const constantEntry: ScheduleEntry = {
  name: "constant",
  summary: "always 1",
  options: {},
  make: constant,
};
