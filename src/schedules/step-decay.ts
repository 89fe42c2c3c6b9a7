import { positive } from "../numbers.ts";
import { afterWarmup, type Duration, durationOf, noWarmup, type WarmupOptions } from "./duration.ts";
import { checkNames, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link stepDecay}. */
export interface StepDecayOptions extends WarmupOptions {
  /** From one drop to the next. */
  readonly every: Duration;
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
export function stepDecay(options: StepDecayOptions): Schedule {
  checkNames(options, stepDecayEntry);
  const { every, factor, ...rise } = options;
  const stepsOf = durationOf("step", "every", every, 1);
  checkOption("step", "factor", factor, positive);
  return afterWarmup(
    "step",
    rise,
    (step, totalSteps, run) => factor ** Math.floor((step - 1) / stepsOf(totalSteps, run)),
  );
}

/** {@link stepDecay} in the table. */
export const stepDecayEntry: ScheduleEntry = {
  name: "step",
  summary: "is multiplied by `factor` after every `every` steps",
  options: { every: undefined, factor: undefined, ...noWarmup },
  make: stepDecay,
};
