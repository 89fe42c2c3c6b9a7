import { share } from "../numbers.ts";
import { halfCosine } from "./cosine.ts";
import { afterWarmup, type Duration, durationOf, noWarmup, type WarmupOptions } from "./duration.ts";
import { checkChoice, checkNames, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link stableDecay}. */
export interface StableDecayOptions extends WarmupOptions {
  /** How long it falls, at the end of the run; Hugging Face's `num_decay_steps`. */
  readonly decay: Duration;
  /** Along a straight line (default), half a cosine, or 1 − √ of the share of the decay that is done. */
  readonly curve?: "linear" | "cosine" | "1-sqrt";
  /** The factor that it falls to, 0 (default) to 1; Hugging Face's `min_lr_ratio`. */
  readonly floor?: number;
}

/**
 * Stays at 1 after the warmup and falls to `floor` in the last `decay` steps of the run (Hugging Face's get_wsd_schedule). Source:
 * Hu et al. 2024, arXiv 2404.06395 (MiniCPM).
 * @throws UsageError for a value out of range.
 *
 * @example
 * stableDecay({ decay: 200 })(901, 1000); // 0.5
 */
export function stableDecay(options: StableDecayOptions): Schedule {
  checkNames(options, stableDecayEntry);
  const { decay, curve = "linear", floor = 0, ...rise } = options;
  const name = "stable-decay";
  const stepsOf = durationOf(name, "decay", decay, 1);
  checkChoice(name, "curve", curve, ["linear", "cosine", "1-sqrt"]);
  checkOption(name, "floor", floor, share);
  return afterWarmup(name, rise, (step, totalSteps, run) => {
    const steps = stepsOf(totalSteps, run);
    const done = Math.min(1, Math.max(0, (step - 1 - totalSteps + steps) / steps));
    if (curve === "cosine") return halfCosine(done, floor);
    return floor + (1 - floor) * (1 - (curve === "linear" ? done : Math.sqrt(done)));
  });
}

/** {@link stableDecay} in the table. */
export const stableDecayEntry: ScheduleEntry = {
  name: "stable-decay",
  summary: "stays at 1 and falls to `floor` in the last `decay` steps; `curve` is linear, cosine or 1-sqrt",
  options: { decay: undefined, curve: "linear", floor: 0, ...noWarmup },
  make: stableDecay,
};
