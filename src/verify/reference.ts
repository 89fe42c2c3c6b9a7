import type { Matrix, PenaltyReference, PlainLayer } from "../penalties/plain-layer.ts";
import { withGradient } from "../penalties/plain-math.ts";
import type { InjectedSite } from "./sites.ts";

/** The site's scalar and its gradient in float64, computed by the references of its penalties; or why there is none. */
export function reference({ penalties }: InjectedSite, layer: PlainLayer): PenaltyReference | string {
  const parts: { factor: number; result: PenaltyReference }[] = [];
  for (const { penalty, factor } of penalties) {
    const { definition, options } = penalty;
    if (!definition.reference) return `the penalty ${definition.name} has no reference`;
    parts.push({ factor, result: definition.reference(layer, options) });
  }
  const combined = (of: (gradient: PenaltyReference["gradient"]) => Matrix | undefined) =>
    parts.reduce<Matrix | undefined>((sum, { factor, result }) => {
      const own = of(result.gradient);
      if (!own) return sum;
      return own.map((row, i) => row.map((value, j) => (sum?.[i]?.[j] ?? 0) + factor * value));
    }, undefined);
  const value = parts.reduce((sum, { factor, result }) => sum + factor * result.value, 0);
  const whole = withGradient(value, (): PenaltyReference["gradient"] => {
    const responses = combined((gradient) => gradient.responses);
    const weights = combined((gradient) => gradient.weights);
    const bias = combined((gradient) => gradient.bias && [gradient.bias])?.[0];
    return { ...(responses && { responses }), ...(weights && { weights }), ...(bias && { bias }) };
  });
  const resolution = parts.reduce(
    (sum, { factor, result }) => sum + Math.abs(factor) * (result.resolution ?? 0),
    0,
  );
  Object.assign(whole, { resolution });
  if (!parts.some(({ result }) => result.held)) return whole;
  return Object.assign(whole, {
    held: (other: PlainLayer) =>
      penalties.reduce((sum, { penalty: { definition, options } }, i) => {
        const held = parts[i]?.result.held;
        const own = held ? held(other) : (definition.reference?.(other, options).value ?? Number.NaN);
        return sum + (parts[i]?.factor ?? 0) * own;
      }, 0),
  });
}
