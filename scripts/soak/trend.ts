/** A sample of a long run: after how much work, and how much was held then. */
export interface Sample {
  /** Work done: steps, trainers or minutes. */
  readonly at: number;
  readonly held: number;
}

/** A straight line through samples. */
export interface Trend {
  /** What is held more per unit of work. */
  readonly slope: number;
  /** Half of the slope's 95 % interval. */
  readonly uncertainty: number;
  /** How many samples were used, after the warm-up. */
  readonly samples: number;
  readonly first: number;
  readonly last: number;
}

/** Share of the work in the beginning that is no part of the line: caches and pools fill, code is compiled. */
export const warmUp = 0.25;

/** Quantiles of Student's t for 95 %, by degrees of freedom. */
const student = [12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13];

/**
 * The least squares line through the samples after the warm-up. Neighbouring samples of memory are alike (a collector's saw
 * tooth), so they count as fewer: n·(1 − r)/(1 + r) for residuals whose neighbours correlate by r.
 * @throws RangeError for fewer than five samples after the warm-up
 */
export function trendOf(all: readonly Sample[]): Trend {
  const end = all.at(-1)?.at ?? 0;
  const samples = all.filter(({ at }) => at >= end * warmUp);
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last || samples.length < 5) {
    throw new RangeError(`${samples.length} samples after the warm-up; a line needs five`);
  }
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const [x, y] = [mean(samples.map(({ at }) => at)), mean(samples.map(({ held }) => held))];
  const spread = samples.reduce((sum, { at }) => sum + (at - x) ** 2, 0);
  const slope = samples.reduce((sum, { at, held }) => sum + (at - x) * (held - y), 0) / spread;
  const residuals = samples.map(({ at, held }) => held - y - slope * (at - x));
  const squares = residuals.reduce((sum, r) => sum + r * r, 0);
  const products = residuals.slice(1).reduce((sum, r, i) => sum + r * (residuals[i] ?? 0), 0);
  const correlation = squares === 0 ? 0 : Math.min(Math.max(products / squares, 0), 0.9);
  const count = Math.max((samples.length * (1 - correlation)) / (1 + correlation), 3);
  const quantile = student[Math.floor(count - 2) - 1] ?? 1.96 + 2.4 / (count - 2);
  const variance = (squares / samples.length) * (count / (count - 2));
  const uncertainty = quantile * Math.sqrt(variance / ((spread / samples.length) * count));
  return { slope, uncertainty, samples: samples.length, first: first.held, last: last.held };
}

/** Whether more and more is held: the line rises faster than the bound allows, and by more than chance. */
export const rises = ({ slope, uncertainty }: Trend, bound: number): boolean =>
  slope > bound && slope - uncertainty > 0;
