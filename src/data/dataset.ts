import { DataError } from "../errors.ts";
import { elementCount } from "../onnx/tensor.ts";

/** Arrays that {@link Dataset.fill} can write: what a model declares for its data and its labels. */
export type BatchArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** What one sample's x or y is. */
export interface SampleType {
  /** `integer`: every element is a whole number, so that an integer model input may take it. `none`: there is no such array. */
  readonly type: "float" | "integer" | "none";
  /** Shape of one sample, without the batch axis. */
  readonly shape: readonly number[];
}

/** What one sample's y is: class labels (integers) or targets (floats). */
export interface TargetType extends SampleType {
  /** Integers only: the largest label plus one. */
  readonly classes?: number;
}

/** From where to where numbers go. */
export interface NumberRange {
  readonly least: number;
  readonly most: number;
  /** No number has a fraction. */
  readonly whole: boolean;
}

/** One array of a dataset, a row for each sample. */
export interface Column extends TargetType {
  /** As its source calls it; a model's input of that name is fed with it. */
  readonly name: string;
  /** Its elements are unsigned bytes, as pixels are stored. */
  readonly bytes?: boolean;
  /** The range of all its numbers, found when first asked for. */
  range(): NumberRange;
  /**
   * Writes the rows of samples side by side from the start of an array.
   * @throws SorthError for an index outside the dataset and for an array that is too short.
   */
  fill(indices: ArrayLike<number>, target: BatchArray): void;
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
  /** What a model with one input is fed. */
  readonly x: SampleType;
  readonly y: TargetType;
  /** Every array but the labels, by name, for models with several inputs; left out, there is x alone. */
  readonly inputs?: ReadonlyMap<string, Column>;
  /** The labels as an array of their own; left out, `fill` alone gives them. */
  readonly labels?: Column;
  /**
   * Writes samples side by side from the start of both arrays, each element copied once.
   * @throws SorthError for an index outside the dataset and for an array that is too short.
   */
  fill(indices: ArrayLike<number>, x: BatchArray, y: BatchArray): void;
}

/** A dataset with the split its source came with. */
export interface SplitData {
  readonly train: Dataset;
  /** Samples that the source holds out for validation. */
  readonly validation?: Dataset;
  /** Undefined where the source has no test samples. */
  readonly test: Dataset | undefined;
  /** What the user should know of how the source was read. */
  readonly remarks?: readonly string[];
}

/**
 * A dataset of arrays.
 * @param inputs - by name; x of the dataset is the one called `x`, else the first
 * @throws SorthError without any input
 */
export function datasetOfColumns(
  name: string,
  size: number,
  inputs: readonly Column[],
  labels: Column | undefined,
): Dataset {
  const first = mainColumn(inputs);
  if (!first) throw new DataError(`${name}: there is no array of data beside the labels`);
  const typeOf = ({ type, shape, classes }: Column): TargetType => ({
    ...{ type, shape },
    ...(classes !== undefined && { classes }),
  });
  return {
    ...{ name, size },
    x: { type: first.type, shape: first.shape },
    y: labels ? typeOf(labels) : { type: "none", shape: [] },
    inputs: new Map(inputs.map((column) => [column.name, column])),
    ...(labels && { labels }),
    fill(indices, x, y) {
      first.fill(indices, x);
      labels?.fill(indices, y);
    },
  };
}

/** The column that is x of a dataset: the one called `x`, else the first. */
export const mainColumn = (inputs: Iterable<Column>): Column | undefined => {
  const columns = [...inputs];
  return columns.find(({ name }) => name.toLowerCase() === "x") ?? columns[0];
};

/** The samples at `indices` of a dataset, in that order, as a dataset of its own. Nothing is copied. */
export function subset(dataset: Dataset, indices: Uint32Array, name = dataset.name): Dataset {
  // An index outside the subset becomes one outside the dataset, which refuses it.
  const own = (rows: ArrayLike<number>) => Array.from(rows, (row) => indices[row] ?? -1);
  const part = (column: Column): Column => ({
    ...column,
    range: () => column.range(),
    fill: (rows, target) => column.fill(own(rows), target),
  });
  const { inputs, labels } = dataset;
  return {
    ...{ name, size: indices.length, x: dataset.x, y: dataset.y },
    ...(inputs && { inputs: new Map([...inputs].map(([key, column]) => [key, part(column)])) }),
    ...(labels && { labels: part(labels) }),
    fill: (rows, x, y) => dataset.fill(own(rows), x, y),
  };
}

/** Calls back with the numbers of a column, some samples at a time. */
export function eachRows(
  column: Column,
  size: number,
  visit: (values: Float64Array, first: number) => void,
): void {
  const width = Math.max(elementCount(column.shape), 1);
  const rows = Math.max(1, Math.floor(65_536 / width));
  for (let first = 0; first < size; first += rows) {
    const count = Math.min(rows, size - first);
    const values = new Float64Array(count * elementCount(column.shape));
    column.fill(
      Array.from({ length: count }, (_, i) => first + i),
      values,
    );
    visit(values, first);
  }
}
