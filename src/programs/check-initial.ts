import { negativeNumber, unusableNumber } from "../analysis/unusable-numbers.ts";
import { NumericError } from "../errors.ts";
import { checkKnown } from "../known-options.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { NextStatistic } from "../passes/training/batch-norm.ts";
import { stepOptionNames } from "./option-names.ts";
import type { LossOptions } from "./options.ts";

/**
 * Checks the numbers from which a run begins, and tells of a running variance below 0: training normalizes with the variance of
 * the batch and raises it, but whatever reads it before that computes NaN.
 * @throws NumericError when a weight or running statistic holds NaN or Infinity: every loss of it would be NaN
 */
export function checkInitial(
  initial: ReadonlyMap<string, Tensor>,
  statistics: readonly NextStatistic[],
  { onMessage }: Pick<LossOptions, "onMessage">,
): void {
  for (const [name, tensor] of initial) {
    const found = unusableNumber(tensor);
    if (!found) continue;
    throw new NumericError(
      `the model's "${name}" holds ${found}: nothing can be trained from there; export the model again, or replace that number`,
    );
  }
  for (const { input, isVariance } of statistics) {
    const tensor = isVariance ? initial.get(input.name) : undefined;
    const found = tensor && negativeNumber(tensor);
    if (found === undefined) continue;
    onMessage?.(
      `the model's running variance "${input.name}" is below 0 (${found}): until training has raised it, the loss on held-out samples and the results of the trained model are NaN`,
    );
  }
}

/** @throws UsageError for an option that a step does not have */
export function checkStepNames(options: LossOptions): void {
  checkKnown("buildStep", options, stepOptionNames);
}
