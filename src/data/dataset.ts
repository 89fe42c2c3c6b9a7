/** Arrays that {@link Dataset.fill} can write: what a model declares for its data and its labels. */
export type BatchArray = Float32Array | Float64Array | Int32Array | BigInt64Array;

/** What one sample's x or y is. */
export interface SampleType {
  /** `integer`: every element is a whole number, so that an integer model input may take it. */
  readonly type: "float" | "integer";
  /** Shape of one sample, without the batch axis. */
  readonly shape: readonly number[];
}

/** What one sample's y is: class labels (integers) or targets (floats). */
export interface TargetType extends SampleType {
  /** Labels only: the largest label plus one. */
  readonly classes?: number;
}

/**
 * Samples x with their labels or targets y, read by index into arrays of the caller.
 *
 * @example
 * const { train } = await loadMnist();
 * const x = new Float32Array(64 * 784); // [64, 1, 28, 28]
 * const y = new Int32Array(64);
 * train.fill([5, 3, 8], x, y); // the first three rows of x and y
 */
export interface Dataset {
  /** Where it comes from, for messages. */
  readonly name: string;
  /** Number of samples. */
  readonly size: number;
  readonly x: SampleType;
  readonly y: TargetType;
  /**
   * Writes samples side by side from the start of both arrays, each element copied once.
   * @throws SorthError for an index outside the dataset and for an array that is too short.
   */
  fill(indices: ArrayLike<number>, x: BatchArray, y: BatchArray): void;
}

/** A dataset with the split its source came with. */
export interface SplitData {
  readonly train: Dataset;
  /** Undefined where the source has no test samples. */
  readonly test: Dataset | undefined;
  /** What is to be known of them: that they are a part of a larger set, say. */
  readonly remark?: string;
}

/** The samples at `indices` of a dataset, in that order, as a dataset of its own. Nothing is copied. */
export function subset(dataset: Dataset, indices: Uint32Array, name = dataset.name): Dataset {
  return {
    name,
    size: indices.length,
    x: dataset.x,
    y: dataset.y,
    fill: (rows, x, y) =>
      // An index outside the subset becomes one outside the dataset, which refuses it.
      dataset.fill(
        Array.from(rows, (row) => indices[row] ?? -1),
        x,
        y,
      ),
  };
}
