/** Figures of predicted numbers over a dataset. */
export interface NumberReport {
  /** Mean of squared differences. */
  readonly mse: number;
  /** Its root. */
  readonly rmse: number;
  /** Mean of absolute differences. */
  readonly mae: number;
  /** 1 − squared differences / squared deviations from the mean, the mean over outputs; undefined where an output is constant. */
  readonly r2: number | undefined;
  /** Samples that were counted. */
  readonly rows: number;
}

/**
 * Compares predicted numbers with targets.
 *
 * @example
 * const metrics = new NumberMetrics(1);
 * metrics.add([2.5], [3]);
 * metrics.report().mae; // 0.5
 */
export class NumberMetrics {
  readonly #width: number;
  #rows = 0;
  readonly #squares: Float64Array;
  readonly #absolutes: Float64Array;
  /** Running means of the targets, and sums of their squared deviations (Welford). */
  readonly #means: Float64Array;
  readonly #deviations: Float64Array;

  /** @param width - numbers of one sample */
  constructor(width: number) {
    this.#width = width;
    const zeros = () => new Float64Array(width);
    [this.#squares, this.#absolutes, this.#means, this.#deviations] = [zeros(), zeros(), zeros(), zeros()];
  }

  /** Counts one sample. */
  add(predictions: ArrayLike<number>, targets: ArrayLike<number>): void {
    this.#rows += 1;
    for (let i = 0; i < this.#width; i++) {
      const target = targets[i] ?? Number.NaN;
      const difference = (predictions[i] ?? Number.NaN) - target;
      const before = target - (this.#means[i] ?? 0);
      this.#squares[i] = (this.#squares[i] ?? 0) + difference ** 2;
      this.#absolutes[i] = (this.#absolutes[i] ?? 0) + Math.abs(difference);
      this.#means[i] = (this.#means[i] ?? 0) + before / this.#rows;
      this.#deviations[i] = (this.#deviations[i] ?? 0) + before * (target - (this.#means[i] ?? 0));
    }
  }

  report(): NumberReport {
    const count = this.#rows * this.#width;
    const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);
    const mse = sum(this.#squares) / count;
    const constant = this.#deviations.some((deviation) => deviation === 0);
    const ratios = this.#squares.map((square, i) => 1 - square / (this.#deviations[i] ?? 0));
    return {
      ...{ mse, rmse: Math.sqrt(mse), mae: sum(this.#absolutes) / count },
      r2: constant ? undefined : sum(ratios) / this.#width,
      rows: this.#rows,
    };
  }
}
