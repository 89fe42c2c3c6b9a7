import { readSchedule } from "../schedules/read.ts";
import type { Schedule } from "../schedules/schedule.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/** Options whose schedules have been read. */
export type TimedOptions = Omit<TrainerOptions, "schedule" | "penaltySchedule"> & {
  readonly schedule?: Schedule | undefined;
  readonly penaltySchedule?: Schedule | undefined;
};

/** Reads the schedules of options. @throws UsageError for a text that is no schedule */
export async function timedOptions(options: TrainerOptions): Promise<TimedOptions> {
  const [schedule, penaltySchedule] = await Promise.all(
    [options.schedule, options.penaltySchedule].map(readSchedule),
  );
  return { ...options, schedule, penaltySchedule };
}

/** The options of a run that has chosen the weight for its share of penalties. */
export const withChosenWeight = <O extends Pick<TrainerOptions, "penaltyShare">>(
  { penaltyShare: _, ...options }: O,
  penaltyWeight: number,
) => ({ ...options, penaltyWeight });
