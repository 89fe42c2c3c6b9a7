import { unusableNumber } from "../analysis/unusable-numbers.ts";
import { NumericError } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** @throws NumericError when a weight or running statistic holds NaN or Infinity: every loss of it would be NaN */
export function checkInitial(initial: ReadonlyMap<string, Tensor>): void {
  for (const [name, tensor] of initial) {
    const found = unusableNumber(tensor);
    if (!found) continue;
    throw new NumericError(
      `the model's "${name}" holds ${found}: nothing can be trained from there; export the model again, or replace that number`,
    );
  }
}
