import { positive } from "../numbers.ts";
import { afterWarmup, type Duration, durationOf, noWarmup, type WarmupOptions } from "./duration.ts";
import { checkChoice, checkNames, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link exponential}. */
export interface ExponentialOptions extends WarmupOptions {
  /** What the factor is multiplied by; torch's `gamma`. */
  readonly factor: number;
  /** After how long; default `1ep`, an epoch. With 1 it falls from step to step. */
  readonly every?: Duration;
  /** In `stairs` (default), once in `every`, or `smooth`, by equal shares at each step. */
  readonly curve?: "stairs" | "smooth";
}

/**
 * Multiplies the factor by `factor` after every epoch, or after `every` (torch's ExponentialLR, stepped once an epoch or once in
 * `every`; `smooth` is the default of Keras' ExponentialDecay).
 * @throws UsageError for a value out of range.
 *
 * @example
 * exponential({ factor: 0.5, every: 100, curve: "smooth" })(51, 1000); // 0.707
 */
export function exponential(options: ExponentialOptions): Schedule {
  checkNames(options, exponentialEntry);
  const { factor, every = "1ep", curve = "stairs", ...rise } = options;
  const name = "exponential";
  const stepsOf = durationOf(name, "every", every, 1);
  checkOption(name, "factor", factor, positive);
  checkChoice(name, "curve", curve, ["stairs", "smooth"]);
  return afterWarmup(name, rise, (step, totalSteps, run) => {
    const times = (step - 1) / stepsOf(totalSteps, run);
    return factor ** (curve === "smooth" ? times : Math.floor(times));
  });
}

/** {@link exponential} in the table. */
export const exponentialEntry: ScheduleEntry = {
  name: "exponential",
  summary: "is multiplied by `factor` after every epoch, or `every`; `curve` is stairs or smooth",
  options: { factor: undefined, every: "1ep", curve: "stairs", ...noWarmup },
  make: exponential,
};
