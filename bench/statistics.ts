import { quantile } from "../src/measure/quantiles.ts";

export { median } from "../src/measure/quantiles.ts";

/** The median and the quartiles of some numbers. */
export interface Spread {
  readonly median: number;
  readonly quartiles: readonly [number, number];
}

/** Median and quartiles, rounded. @param digits - digits after the point */
export function spreadOf(values: readonly number[], digits = 3): Spread {
  const at = (share: number) => Number(quantile(values, share).toFixed(digits));
  return { median: at(0.5), quartiles: [at(0.25), at(0.75)] };
}
