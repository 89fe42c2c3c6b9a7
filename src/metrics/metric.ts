/** One sample, as a metric sees it. The arrays belong to the metric. */
export interface MetricSample {
  /** The model's numbers that the loss reads, in the order of their shape: logits for a cross-entropy. */
  readonly scores: ArrayLike<number>;
  /** The sample's labels, as the loss reads them: a class, classes of places, or numbers. */
  readonly labels: ArrayLike<number>;
  /** Shape of the scores: [rows of the sample, …], with one row for most models. */
  readonly shape: readonly number[];
}

/** One pass over a dataset. */
export interface MetricPass {
  /** Counts a sample. */
  add(sample: MetricSample): void;
  /** The figure over all samples. */
  result(): number;
}

/**
 * A figure of your own, computed on held-out samples after each epoch.
 *
 * @example
 * const sure: Metric = {
 *   name: "sure",
 *   better: "higher",
 *   begin() {
 *     let [sum, samples] = [0, 0];
 *     return {
 *       add({ scores }) {
 *         sum += Math.max(...Array.from(scores));
 *         samples += 1;
 *       },
 *       result: () => sum / samples,
 *     };
 *   },
 * };
 * const trainer = await Trainer.create(model, { objective: crossEntropy(), metrics: ["f1", sure] });
 */
export interface Metric {
  /** Its name in events, files and `monitor`. */
  readonly name: string;
  /** Whether more is better (default), or less. */
  readonly better?: "higher" | "lower";
  /** Begins a pass over a dataset. */
  readonly begin: () => MetricPass;
}

/** Figures over a dataset, besides loss and accuracy. */
export interface Measured {
  /** One number each; NaN where the samples do not define it. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Precision, recall, F1 and AUC of each class or yes-or-no label; null where the samples do not define it. */
  readonly perClass?: Readonly<Record<string, readonly (number | null)[]>>;
  /** Rows by their class (first index) and by the class that they were put into (second index). */
  readonly confusion?: readonly (readonly number[])[];
}
