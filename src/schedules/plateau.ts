import { UsageError } from "../errors.ts";
import { countFromZero, notNegative, properShare, share } from "../numbers.ts";
import { afterWarmup, noWarmup, type WarmupOptions } from "./duration.ts";
import {
  checkChoice,
  checkNames,
  checkOption,
  figureAsked,
  figureOf,
  type Schedule,
  type ScheduleEntry,
} from "./schedule.ts";

/** Options of {@link plateau}, with torch's defaults. */
export interface PlateauOptions extends WarmupOptions {
  /** The figure that is followed, as `monitor` of a fit names it; default `loss`. */
  readonly monitor?: string;
  /**
   * Whether the figure is to fall (`min`) or to rise (`max`). Default `auto`: as it is better, and `min` where that is not known;
   * the loss is to fall, torch's default.
   */
  readonly mode?: "min" | "max" | "auto";
  /** What the factor is multiplied by; default 0.1. */
  readonly factor?: number;
  /** Epochs without a better figure that pass before the factor falls: it falls after one more. Default 10. */
  readonly patience?: number;
  /** How much better than the best figure so far a figure must be; default 1e-4. */
  readonly threshold?: number;
  /** Whether the threshold is a share of the best figure (`rel`, default) or a difference (`abs`). */
  readonly thresholdMode?: "rel" | "abs";
  /** Epochs after a fall that do not count; default 0. */
  readonly cooldown?: number;
  /** The factor that it does not fall below, 0 (default) to 1. */
  readonly floor?: number;
}

/**
 * Multiplies the factor by `factor` when the loss on held-out samples, or another figure, has stopped getting better (torch's
 * ReduceLROnPlateau). It follows from the figures after the epochs so far, which a run and its checkpoints keep.
 * @throws UsageError for a value out of range, in a run without held-out samples, and for a figure that the run does not compute.
 *
 * @example
 * const validation = [0.5, 0.4, 0.41, 0.42].map((loss, i) => ({ step: 100 * (i + 1), loss }));
 * plateau({ patience: 1 })(401, 1000, { stepsPerEpoch: 100, validation }); // 0.1
 */
export function plateau(options: PlateauOptions = {}): Schedule {
  checkNames(options, plateauEntry);
  const { factor = 0.1, patience = 10, threshold = 1e-4, thresholdMode = "rel" } = options;
  const { cooldown = 0, floor = 0 } = options;
  const { monitor = "loss", mode = "auto" } = options;
  const name = "plateau";
  const figure = figureAsked(String(monitor));
  checkChoice(name, "mode", mode, ["min", "max", "auto"]);
  checkOption(name, "factor", factor, properShare);
  checkOption(name, "patience", patience, countFromZero);
  checkOption(name, "threshold", threshold, notNegative);
  checkChoice(name, "threshold-mode", thresholdMode, ["rel", "abs"]);
  checkOption(name, "cooldown", cooldown, countFromZero);
  checkOption(name, "floor", floor, share);
  // A factor of its own.
  const rise = afterWarmup(name, options, () => 1);
  const isBetter = (value: number, best: number, sign: 1 | -1) => {
    const least = thresholdMode === "rel" ? best * (1 + sign * threshold) : best + sign * threshold;
    return sign === 1 ? value > least : value < least;
  };
  return (step, totalSteps, run) => {
    if (!run?.validation) {
      throw new UsageError(
        `the schedule plateau follows the ${figure} on held-out samples, and this run holds none out: give --validation 0.1 (validation: 0.1 of fit)`,
      );
    }
    const { figures } = run;
    if (figures && !figures.has(figure)) {
      throw new UsageError(
        `the schedule plateau follows "${monitor}", but this run computes ${[...figures.keys()].join(", ")} on its held-out samples; metrics (--metrics) adds others`,
      );
    }
    const rises = mode === "auto" ? figures?.get(figure) === "higher" : mode === "max";
    const sign = rises ? 1 : -1;
    let [reached, best, bad, cooling] = [1, -sign * Number.POSITIVE_INFINITY, 0, 0];
    for (const epoch of run.validation.filter((one) => one.step < step)) {
      const value = figureOf(epoch, figure);
      if (isBetter(value, best, sign)) [best, bad] = [value, 0];
      else bad += 1;
      if (cooling > 0) [cooling, bad] = [cooling - 1, 0];
      if (bad > patience) [reached, cooling, bad] = [Math.max(reached * factor, floor), cooldown, 0];
    }
    return reached * rise(step, totalSteps, run);
  };
}

/** {@link plateau} in the table. */
export const plateauEntry: ScheduleEntry = {
  name: "plateau",
  summary:
    "is multiplied by `factor` after more than `patience` epochs in which the validation loss, or another figure (`monitor`), did not get better; `mode` is min, max or auto, `threshold-mode` rel or abs",
  options: {
    ...{ monitor: "loss", mode: "auto" },
    ...{ factor: 0.1, patience: 10, threshold: 1e-4, thresholdMode: "rel" },
    ...{ cooldown: 0, floor: 0, ...noWarmup },
  },
  make: plateau,
};
