import { countFromZero, share } from "../numbers.ts";
import { checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";
import { warmup } from "./warmup.ts";

/** Options of {@link cosine}. */
export interface CosineOptions {
  /** Steps of a linear rise before the cosine; default 0. */
  readonly warmup?: number;
  /** The factor that it falls to, 0 (default) to 1. */
  readonly floor?: number;
}

/**
 * Falls along half a cosine from 1, at the first step after the warmup, towards `floor`, which the step after the last one
 * would reach (torch's CosineAnnealingLR). No step of the run has the factor `floor` itself, so with `floor` 0 no step is lost.
 * @throws UsageError for a value out of range.
 *
 * @example
 * cosine({ warmup: 100, floor: 0.1 })(1, 1000); // 0.01
 */
export function cosine({ warmup: rise = 0, floor = 0 }: CosineOptions = {}): Schedule {
  checkOption("cosine", "warmup", rise, countFromZero);
  checkOption("cosine", "floor", floor, share);
  const rising = warmup(rise);
  return (step, totalSteps) => {
    if (step <= rise) return rising(step, totalSteps);
    const done = Math.min(1, (step - 1 - rise) / Math.max(1, totalSteps - rise));
    return floor + ((1 - floor) * (1 + Math.cos(Math.PI * done))) / 2;
  };
}

/** {@link cosine} in the table. */
export const cosineEntry: ScheduleEntry = {
  name: "cosine",
  summary: "rises linearly over `warmup` steps, then falls along half a cosine to `floor`",
  options: { warmup: 0, floor: 0 },
  make: cosine,
};
