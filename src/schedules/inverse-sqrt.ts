import { type Duration, durationOf, noWarmup, riseOf, type WarmupOptions } from "./duration.ts";
import type { Schedule, ScheduleEntry } from "./schedule.ts";
import { checkNames } from "./schedule.ts";

/** Options of {@link inverseSqrt}. */
export interface InverseSqrtOptions extends WarmupOptions {
  /** After how many steps the factor is 1/√2; default: as many as the warmup has, or 10,000 without one. */
  readonly timescale?: Duration | "warmup";
}

/** Where there is neither a timescale nor a warmup, as in Hugging Face's transformers. */
const usualScale = 10_000;

/**
 * Falls from 1, at the first step after the warmup, as 1/√(1 + done/timescale), where `done` counts the steps since then (Hugging
 * Face's get_inverse_sqrt_schedule). Source: Vaswani et al. 2017, arXiv 1706.03762, eq. (3).
 * @throws UsageError for what is no duration
 *
 * @example
 * inverseSqrt({ warmup: 100 })(401, 1000); // 0.5
 */
export function inverseSqrt(options: InverseSqrtOptions = {}): Schedule {
  checkNames(options, inverseSqrtEntry);
  const { timescale = "warmup", ...rise } = options;
  const name = "inverse-sqrt";
  const warmupOf = durationOf(name, "warmup", rise.warmup ?? 0, 0);
  const factor = riseOf(name, rise);
  const given = timescale === "warmup" ? undefined : durationOf(name, "timescale", timescale, 1);
  return (step, totalSteps, run) => {
    const steps = warmupOf(totalSteps, run);
    if (step <= steps) return factor(step, steps);
    const scale = given?.(totalSteps, run) ?? (steps || usualScale);
    return 1 / Math.sqrt(1 + (step - steps - 1) / scale);
  };
}

/** {@link inverseSqrt} in the table. */
export const inverseSqrtEntry: ScheduleEntry = {
  name: "inverse-sqrt",
  summary: "falls as 1/√(1 + steps/`timescale`)",
  options: { timescale: "warmup", ...noWarmup },
  make: inverseSqrt,
};
