import { count, positive } from "../numbers.ts";
import { checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link stepDecay}. */
export interface StepDecayOptions {
  /** Steps between two drops. */
  readonly every: number;
  /** The share of the factor that remains after a drop. */
  readonly factor: number;
}

/**
 * Multiplies the factor by `factor` after every `every` steps (torch's StepLR).
 * @throws UsageError for a value out of range.
 *
 * @example
 * stepDecay({ every: 1000, factor: 0.1 })(1001, 5000); // 0.1
 */
export function stepDecay({ every, factor }: StepDecayOptions): Schedule {
  checkOption("step", "every", every, count);
  checkOption("step", "factor", factor, positive);
  return (step) => factor ** Math.floor((step - 1) / every);
}

/** {@link stepDecay} in the table. */
export const stepDecayEntry: ScheduleEntry = {
  name: "step",
  summary: "is multiplied by `factor` after every `every` steps",
  options: { every: undefined, factor: undefined },
  make: ({ every = 1, factor = 1 }) => stepDecay({ every, factor }),
};
