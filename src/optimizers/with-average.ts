import { UsageError } from "../errors.ts";
import { afterEachUpdate } from "./accumulate.ts";
import { type AverageOptions, averagesOf } from "./averages.ts";
import { chain } from "./chain.ts";
import type { GradientTransformation } from "./transformation.ts";
import { averageEqually } from "./transformations/average-equally.ts";
import { averageWeights } from "./transformations/average-weights.ts";

/** The optimizer, with the average that the options ask for. @throws UsageError for two averages */
export function withAverage(
  optimizer: GradientTransformation,
  { ema, swa }: AverageOptions,
): GradientTransformation {
  if ((ema !== undefined && swa !== undefined) || averagesOf(optimizer).length > 0) {
    throw new UsageError("a run keeps one average of its weights: give either ema (--ema) or swa (--swa)");
  }
  if (swa !== undefined) return chain(optimizer, averageEqually(swa));
  return afterEachUpdate(optimizer, averageWeights(ema));
}
