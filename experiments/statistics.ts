/** A mean over seeds and half the width of its 95 % confidence interval. */
export interface Estimate {
  readonly mean: number;
  /** Half the width; NaN for a single value. */
  readonly margin: number;
}

/** 97.5 % quantiles of Student's t distribution for 1, 2, … degrees of freedom. */
const quantiles = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201];

/** Mean and 95 % confidence interval of a few values (Student's t, which assumes a normal distribution). */
export function estimate(values: readonly number[]): Estimate {
  const n = values.length;
  const average = mean(values);
  const variance = values.reduce((sum, value) => sum + (value - average) ** 2, 0) / (n - 1);
  const quantile = quantiles[n - 2];
  if (n > 1 && quantile === undefined)
    throw new Error(`there is no quantile for ${n} values; add it to the table`);
  return { mean: average, margin: n > 1 ? (quantile as number) * Math.sqrt(variance / n) : Number.NaN };
}

/** The mean difference between two variants, seed by seed, so that shared effects (initial weights, samples) cancel. */
export const pairedDifference = (ours: readonly number[], theirs: readonly number[]): Estimate =>
  estimate(ours.map((value, i) => value - (theirs[i] ?? Number.NaN)));

/** Whether 0 lies outside the interval. */
export const differs = ({ mean, margin }: Estimate): boolean => Math.abs(mean) > margin;

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
