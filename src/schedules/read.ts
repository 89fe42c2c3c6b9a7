import type { Schedule } from "./schedule.ts";

/**
 * A schedule that was given as text or as a function. A page loads the code that reads texts when there is one.
 * @throws UsageError for a text that is no schedule
 */
export async function readSchedule(schedule: string | Schedule | undefined): Promise<Schedule | undefined> {
  if (typeof schedule !== "string") return schedule;
  const { parseSchedule } = await import("./table.ts");
  return parseSchedule(schedule);
}
