import { count, share } from "../numbers.ts";
import { halfCosine } from "./cosine.ts";
import { afterWarmup, type Duration, durationOf, noWarmup, type WarmupOptions } from "./duration.ts";
import { checkNames, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link cosineRestarts}. */
export interface CosineRestartsOptions extends WarmupOptions {
  /** The length of the first fall; torch's `T_0`. */
  readonly period: Duration;
  /** How many times as long as the one before it each further fall is; torch's `T_mult`. Default 1. */
  readonly growth?: number;
  /** The factor that each fall leads to, 0 (default) to 1. */
  readonly floor?: number;
}

/**
 * Falls along half a cosine from 1 towards `floor`, and begins again at 1 after each `period` (torch's
 * CosineAnnealingWarmRestarts). Source: Loshchilov, Hutter 2017, arXiv 1608.03983 (SGDR).
 * @throws UsageError for a value out of range.
 *
 * @example
 * cosineRestarts({ period: "1ep", growth: 2 })(101, 700, { stepsPerEpoch: 100 }); // 1: the second fall, of two epochs
 */
export function cosineRestarts(options: CosineRestartsOptions): Schedule {
  checkNames(options, cosineRestartsEntry);
  const { period, growth = 1, floor = 0, ...rise } = options;
  const name = "cosine-restarts";
  const first = durationOf(name, "period", period, 1);
  checkOption(name, "growth", growth, count);
  checkOption(name, "floor", floor, share);
  return afterWarmup(name, rise, (step, totalSteps, run) => {
    let length = first(totalSteps, run);
    let done = step - 1;
    if (growth === 1) done %= length;
    while (done >= length) {
      done -= length;
      length *= growth;
    }
    return halfCosine(done / length, floor);
  });
}

/** {@link cosineRestarts} in the table. */
export const cosineRestartsEntry: ScheduleEntry = {
  name: "cosine-restarts",
  summary:
    "falls along half a cosine to `floor`, and again from 1 after each `period`, which grows by `growth`",
  options: { period: undefined, growth: 1, floor: 0, ...noWarmup },
  make: cosineRestarts,
};
