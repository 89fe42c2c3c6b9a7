import { checkNames, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Factors of SRIP's published schedule, each with the last of 200 epochs in which it applies. */
const sripFactors = [
  [20, 1],
  [50, 1e-3],
  [70, 1e-4],
  [120, 1e-6],
] as const;

/**
 * The published schedule of SRIP: 1 for 20 of 200 epochs, 1e-3 up to epoch 50, 1e-4 up to 70, 1e-6 up to 120, then 0. Runs of
 * other lengths are divided in the same proportions.
 * Source: the code of Bansal, Chen, Wang 2018 (VITA-Group/Orthogonality-in-CNNs).
 */
export const sripSchedule = (options: Readonly<Record<string, never>> = {}): Schedule => {
  checkNames(options, sripEntry);
  return (step, totalSteps) => sripFactors.find(([epochs]) => 200 * step <= epochs * totalSteps)?.[1] ?? 0;
};

/** {@link sripSchedule} in the table. */
export const sripEntry: ScheduleEntry = {
  name: "srip",
  summary: "1, 1e-3, 1e-4, 1e-6 and 0, changing at 20, 50, 70 and 120 of 200 epochs, as published for SRIP",
  options: {},
  make: sripSchedule,
};
