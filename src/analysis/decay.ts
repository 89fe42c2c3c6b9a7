import type { Parameter } from "./parameters.ts";
import type { Readings } from "./readings.ts";

/** Input of the biases of recurrent operators. */
const recurrentBias = 3;

/**
 * Whether weight decay is commonly left off a parameter: a bias, the scale or shift of a normalization, or any tensor with fewer
 * than two axes.
 */
export function isCommonlyUndecayed({ value, role }: Parameter, readings: Readings): boolean {
  if (role === "bias" || role === "scale" || role === "slope") return true;
  if ((value.initializer?.dims ?? value.shape ?? []).length < 2) return true;
  return readings
    .of(value)
    .some(({ node, index }) => ["LSTM", "GRU", "RNN"].includes(node.op) && index === recurrentBias);
}
