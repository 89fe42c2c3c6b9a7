import type { GradientTransformation } from "./transformation.ts";

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
