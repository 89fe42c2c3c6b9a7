/** The mean of a figure over several runs, and where the mean of all possible runs lies. */
export interface MeanInterval {
  /** Number of runs. */
  readonly runs: number;
  readonly mean: number;
  /** The standard deviation of a single run (n − 1 in the denominator); absent for one run. */
  readonly standardDeviation?: number;
  /** The mean ∓ t·s/√n, with Student's t for n − 1 degrees of freedom; absent for one run. */
  readonly interval?: readonly [low: number, high: number];
}

/**
 * Mean, standard deviation and confidence interval of some numbers, taken as independent and normally distributed.
 * @param confidence - probability that the interval holds the mean
 *
 * @example
 * meanInterval([0.97, 0.98, 0.96]);   // { runs: 3, mean: 0.97, standardDeviation: 0.01, interval: [0.945, 0.995] }
 */
export function meanInterval(values: readonly number[], confidence = 0.95): MeanInterval {
  const runs = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / runs;
  if (runs < 2) return { runs, mean };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const standardDeviation = Math.sqrt(squares / (runs - 1));
  const half = (studentT(confidence, runs - 1) * standardDeviation) / Math.sqrt(runs);
  return { runs, mean, standardDeviation, interval: [mean - half, mean + half] };
}

/** The t for which |T| ≤ t has the given probability, by bisection. @param degrees - degrees of freedom, from 1 */
export function studentT(probability: number, degrees: number): number {
  let [low, high] = [0, 1];
  while (shareWithin(high, degrees) < probability) high *= 2;
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (shareWithin(middle, degrees) < probability) low = middle;
    else high = middle;
  }
  return high;
}

/** Probability of |T| ≤ t: Abramowitz and Stegun, 26.7.3 and 26.7.4. */
function shareWithin(t: number, degrees: number): number {
  const angle = Math.atan(t / Math.sqrt(degrees));
  const square = Math.cos(angle) ** 2;
  const odd = degrees % 2 === 1;
  let term = odd ? Math.cos(angle) : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let k = odd ? 3 : 2; k < degrees; k += 2) {
    term *= ((k - 1) / k) * square;
    sum += term;
  }
  return odd ? (2 / Math.PI) * (angle + Math.sin(angle) * sum) : Math.sin(angle) * sum;
}
