import { positive, share } from "../numbers.ts";
import { afterWarmup, type Duration, durationOf, noWarmup, type WarmupOptions } from "./duration.ts";
import { checkNames, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link polynomial}. */
export interface PolynomialOptions extends WarmupOptions {
  /** The exponent; default 1, a straight line. */
  readonly power?: number;
  /** The factor that it falls to, 0 (default) to 1. */
  readonly floor?: number;
  /** How long it falls; torch's `total_iters`. Default: to the end of the run. */
  readonly steps?: Duration;
}

/**
 * Falls from 1 to `floor` along floor + (1 − floor)·(1 − done/steps)^power, where `done` counts the steps before this one, and
 * stays there (torch's PolynomialLR, which has no floor; Keras' PolynomialDecay).
 * @throws UsageError for a value out of range.
 *
 * @example
 * polynomial({ power: 2 })(501, 1000); // 0.25
 */
export function polynomial(options: PolynomialOptions = {}): Schedule {
  checkNames(options, polynomialEntry);
  const { power = 1, floor = 0, steps = "100%", ...rise } = options;
  const name = "polynomial";
  const stepsOf = durationOf(name, "steps", steps, 1);
  checkOption(name, "power", power, positive);
  checkOption(name, "floor", floor, share);
  return afterWarmup(
    name,
    rise,
    (step, totalSteps, run) =>
      floor + (1 - floor) * Math.max(0, 1 - (step - 1) / stepsOf(totalSteps, run)) ** power,
  );
}

/** {@link polynomial} in the table. */
export const polynomialEntry: ScheduleEntry = {
  name: "polynomial",
  summary: "falls to `floor` in `steps` as the power `power` of what is left",
  options: { power: 1, floor: 0, steps: "100%", ...noWarmup },
  make: polynomial,
};
