import { UsageError } from "../errors.ts";
import { countFromZero, notNegative, properShare, share } from "../numbers.ts";
import { type Duration, durationOf } from "./duration.ts";
import { checkChoice, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link plateau}, with torch's defaults. */
export interface PlateauOptions {
  /** What the factor is multiplied by; default 0.1. */
  readonly factor?: number;
  /** Epochs without a better loss that pass before the factor falls: it falls after one more. Default 10. */
  readonly patience?: number;
  /** How much better than the best loss a loss must be; default 1e-4. */
  readonly threshold?: number;
  /** Whether the threshold is a share of the best loss (`rel`, default) or a difference (`abs`). */
  readonly thresholdMode?: "rel" | "abs";
  /** Epochs after a fall that do not count; default 0. */
  readonly cooldown?: number;
  /** The factor that it does not fall below, 0 (default) to 1. */
  readonly floor?: number;
  /** A linear rise at the beginning, a factor of its own; default 0 steps. */
  readonly warmup?: Duration;
}

/**
 * Multiplies the factor by `factor` when the loss on held-out samples has stopped falling (torch's ReduceLROnPlateau). It follows from the
 * losses after the epochs so far, which a run and its checkpoints keep.
 * @throws UsageError for a value out of range, and in a run without held-out samples.
 *
 * @example
 * const validation = [0.5, 0.4, 0.41, 0.42].map((loss, i) => ({ step: 100 * (i + 1), loss }));
 * plateau({ patience: 1 })(401, 1000, { stepsPerEpoch: 100, validation }); // 0.1
 */
export function plateau(options: PlateauOptions = {}): Schedule {
  const { factor = 0.1, patience = 10, threshold = 1e-4, thresholdMode = "rel" } = options;
  const { cooldown = 0, floor = 0, warmup = 0 } = options;
  const name = "plateau";
  checkOption(name, "factor", factor, properShare);
  checkOption(name, "patience", patience, countFromZero);
  checkOption(name, "threshold", threshold, notNegative);
  checkChoice(name, "threshold-mode", thresholdMode, ["rel", "abs"]);
  checkOption(name, "cooldown", cooldown, countFromZero);
  checkOption(name, "floor", floor, share);
  const rise = durationOf(name, "warmup", warmup, 0);
  const isBetter = (loss: number, best: number) =>
    loss < (thresholdMode === "rel" ? best * (1 - threshold) : best - threshold);
  return (step, totalSteps, run) => {
    if (!run?.validation) {
      throw new UsageError(
        "the schedule plateau follows the loss on held-out samples, and this run holds none out: give --validation 0.1 (validation: 0.1 of fit)",
      );
    }
    let [reached, best, bad, cooling] = [1, Number.POSITIVE_INFINITY, 0, 0];
    for (const { loss } of run.validation.filter((epoch) => epoch.step < step)) {
      if (isBetter(loss, best)) [best, bad] = [loss, 0];
      else bad += 1;
      if (cooling > 0) [cooling, bad] = [cooling - 1, 0];
      if (bad > patience) [reached, cooling, bad] = [Math.max(reached * factor, floor), cooldown, 0];
    }
    return reached * Math.min(1, step / Math.max(1, rise(totalSteps, run)));
  };
}

/** {@link plateau} in the table. */
export const plateauEntry: ScheduleEntry = {
  name: "plateau",
  summary:
    "is multiplied by `factor` after more than `patience` epochs without a lower validation loss; `threshold-mode` is rel or abs",
  options: {
    ...{ factor: 0.1, patience: 10, threshold: 1e-4, thresholdMode: "rel" },
    ...{ cooldown: 0, floor: 0, warmup: 0 },
  },
  make: plateau,
};
