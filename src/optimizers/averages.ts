import { UsageError } from "../errors.ts";
import { accumulate } from "./accumulate.ts";
import { chain } from "./chain.ts";
import type { GradientTransformation } from "./transformation.ts";
import { averageEqually } from "./transformations/average-equally.ts";
import { averageWeights } from "./transformations/average-weights.ts";

/** Averages of the weights that a run keeps beside them. */
export interface AverageOptions {
  /**
   * Keep an exponential moving average of the weights, with this share of the past, as PyTorch's AveragedModel with
   * `get_ema_multi_avg_fn`; one average for each update. Evaluations and exports then take the average.
   */
  readonly ema?: number;
  /**
   * Keep the mean of the weights after the steps `start`, `start + every` … (stochastic weight averaging), as PyTorch's
   * AveragedModel; a number is `start`, and `every` is 1. Evaluations and exports then take the mean.
   */
  readonly swa?: number | { readonly start: number; readonly every?: number };
}

/** Which average of the weights a run keeps. */
export type AverageKind = "ema" | "swa";

/** The averages that an optimizer keeps, itself or in its members: each has a slot of that name. */
export function averagesOf({ name, parts = [], inner }: GradientTransformation): AverageKind[] {
  if (name === "average-weights") return ["ema"];
  if (name === "average-equally") return ["swa"];
  return [...parts, ...(inner ? [inner] : [])].flatMap(averagesOf);
}

/** The optimizer, with the average that the options ask for. @throws UsageError for two averages */
export function withAverage(
  optimizer: GradientTransformation,
  { ema, swa }: AverageOptions,
): GradientTransformation {
  if (ema === undefined && swa === undefined) return optimizer;
  if ((ema !== undefined && swa !== undefined) || averagesOf(optimizer).length > 0) {
    throw new UsageError("a run keeps one average of its weights: give either ema (--ema) or swa (--swa)");
  }
  if (swa !== undefined) return chain(optimizer, averageEqually(swa));
  const { inner, name, options } = optimizer;
  // An average of each update: batches before an update leave the weights as they are.
  if (inner && name === "accumulate") {
    return accumulate(Number(options.batches), chain(inner, averageWeights(ema)));
  }
  return chain(optimizer, averageWeights(ema));
}
