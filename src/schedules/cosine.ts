import { share } from "../numbers.ts";
import { afterWarmup, noWarmup, type WarmupOptions } from "./duration.ts";
import { checkNames, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link cosine}. */
export interface CosineOptions extends WarmupOptions {
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
export function cosine(options: CosineOptions = {}): Schedule {
  checkNames(options, cosineEntry);
  const { floor = 0, ...rise } = options;
  checkOption("cosine", "floor", floor, share);
  return afterWarmup("cosine", rise, (step, totalSteps) =>
    halfCosine(Math.min(1, (step - 1) / Math.max(1, totalSteps)), floor),
  );
}

/** Half a cosine from 1, where nothing is `done`, to `floor`, where all is. */
export const halfCosine = (done: number, floor: number): number =>
  floor + ((1 - floor) * (1 + Math.cos(Math.PI * done))) / 2;

/** {@link cosine} in the table. */
export const cosineEntry: ScheduleEntry = {
  name: "cosine",
  summary: "falls along half a cosine to `floor`",
  options: { ...noWarmup, floor: 0 },
  make: cosine,
};
