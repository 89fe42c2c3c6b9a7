/** The median and the quartiles of some numbers. */
export interface Spread {
  readonly median: number;
  readonly quartiles: readonly [number, number];
}

/** The middle value, or the mean of the two middle ones; NaN without values. */
export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Median and quartiles, rounded. @param digits - digits after the point */
export function spreadOf(values: readonly number[], digits = 3): Spread {
  const at = (share: number) => Number(quantile(values, share).toFixed(digits));
  return { median: at(0.5), quartiles: [at(0.25), at(0.75)] };
}

/** The value below which the given share of the values lies, between neighbours in proportion. */
function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  if (below === undefined || above === undefined) return Number.NaN;
  return below + (above - below) * (place - Math.floor(place));
}
