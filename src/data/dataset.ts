import { DataError, UsageError } from "../errors.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { NumericArray as BatchArray } from "../onnx/tensor-data.ts";
import { isObject, whatIs } from "../what-is.ts";
import { checkDataset } from "./check-dataset.ts";

export type { BatchArray };

/** Type and shape of one sample's x or y. */
export interface SampleType {
  /** `integer`: every element is an integer, so an integer input of a model may take it. `none`: there is no such array. */
  readonly type: "float" | "integer" | "none";
  /** Shape of one sample, without the batch axis. */
  readonly shape: readonly number[];
}

/** Type and shape of one sample's y: class labels (integers) or targets (floats). */
export interface TargetType extends SampleType {
  /** Integers only: the largest label plus one. */
  readonly classes?: number;
}

/**
 * The answer of a `fill`: a promise where samples must be fetched or decoded first, nothing where they are at hand. The
 * target belongs to the dataset until that promise settles.
 */
export type Filled = void | Promise<void>;

/** Whether a fill goes on after its call. */
export const isPending = (filled: Filled): filled is Promise<void> =>
  typeof (filled as Promise<void> | undefined)?.then === "function";

/** Starts a fill ahead of its time. If it fails, the promise rejects when it is awaited; a caller that stops earlier need not await it. */
export function startedFill(fill: () => Filled): Promise<void> {
  const filled = (async () => fill())();
  filled.catch(() => {});
  return filled;
}

/** The pass over the data for which samples are read. Only training gives it: a dataset may then change samples at random. */
export interface TrainingPass {
  /** Seed of the run. */
  readonly seed: number;
  /** Counted from 0. */
  readonly epoch: number;
}

/** The range of the numbers in an array. */
export interface NumberRange {
  readonly least: number;
  readonly most: number;
  /** Whether all numbers are integers. */
  readonly whole: boolean;
}

/** One array of a dataset, with one row per sample. */
export interface Column extends TargetType {
  /** Its name in the source; a model's input of the same name is fed with it. */
  readonly name: string;
  /** Whether its elements are unsigned bytes, the usual form of pixels. */
  readonly bytes?: boolean;
  /** Name of the type of its elements in the source, for messages. */
  readonly dtype?: string;
  /** How its bytes v were scaled already, for messages: (v/255 − mean)/std. */
  readonly scaled?: { readonly mean: number; readonly std: number };
  /** The number of a black pixel, where that is not 0. */
  readonly black?: number;
  /**
   * The range of all its numbers, computed on first use. A column that is decoded as it is read gives bounds that hold for
   * every row, without reading one: 0 … 255 for pixels.
   */
  range(): NumberRange;
  /**
   * Writes the rows of the given samples one after another, from the start of `target`.
   * @throws SorthError (or rejects) for an index outside the dataset and for an array that is too short
   */
  fill(indices: ArrayLike<number>, target: BatchArray, pass?: TrainingPass): Filled;
}

/**
 * Samples x with labels or targets y, which are read by index into the caller's arrays. A dataset may answer with a promise:
 * training then reads one run ahead, so that the next samples are decoded while a step computes.
 *
 * @example
 * const { train } = await loadMnist();
 * const x = new Float32Array(64 * 784); // [64, 1, 28, 28]
 * const y = new Int32Array(64);
 * train.fill([5, 3, 8], x, y); // the first three rows of x and y
 */
export interface Dataset {
  /** Its source, for messages. */
  readonly name: string;
  /** Number of samples. */
  readonly size: number;
  /** The samples for a model with one input. */
  readonly x: SampleType;
  readonly y: TargetType;
  /** All arrays except the labels, by name, for models with several inputs; absent if there is only x. */
  readonly inputs?: ReadonlyMap<string, Column>;
  /** The labels as a separate array; if absent, only `fill` returns them. */
  readonly labels?: Column;
  /**
   * Identifies the samples of a dataset that is decoded as it is read: names and sizes of its files, say. A resumed run
   * compares it. Without it, all samples are read for a checksum, or only name, size and shapes count if `fill` answers
   * with a promise.
   */
  readonly fingerprint?: string;
  /** Samples come one after another: training takes them in this order, and does not shuffle. */
  readonly inOrder?: boolean;
  /** Whether samples change at random in a {@link TrainingPass}: `distribute` refuses such data, unless it can repeat the changes. */
  readonly changing?: boolean;
  /** Ends a pass that was begun and will not be read to its end. Called at the end of a fit. */
  close?(): void;
  /** The file of a sample, where each has one of its own. */
  sampleName?(index: number): string;
  /** The row of a sample in its table, from 0, where rows of the table were left out. */
  sampleRow?(index: number): number;
  /**
   * Writes the given samples one after another, from the start of both arrays.
   * @throws SorthError (or rejects) for an index outside the dataset and for an array that is too short
   */
  fill(indices: ArrayLike<number>, x: BatchArray, y: BatchArray, pass?: TrainingPass): Filled;
}

/**
 * A dataset of arrays.
 * @param inputs - the arrays by name; the dataset's x is the one called `x`, else the first
 * @throws SorthError when there is no input
 */
export function datasetOfColumns(
  name: string,
  size: number,
  inputs: readonly Column[],
  labels: Column | undefined,
): Dataset {
  const first = mainColumn(inputs);
  if (!first) throw new DataError(`${name}: there are only labels, no array of data`);
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
    fill: (indices, x, y, pass) => together([first.fill(indices, x, pass), labels?.fill(indices, y, pass)]),
  };
}

/** Several fills as one. */
export function together(fills: readonly Filled[]): Filled {
  const pending = fills.filter(isPending);
  return pending.length > 0 ? Promise.all(pending).then(() => {}) : undefined;
}

/** The column that serves as x of a dataset: the one called `x`, else the first. */
export const mainColumn = (inputs: Iterable<Column>): Column | undefined => {
  const columns = [...inputs];
  return columns.find(({ name }) => name.toLowerCase() === "x") ?? columns[0];
};

/** A dataset of the samples at `indices` of another dataset, in that order. Nothing is copied. */
export function subset(dataset: Dataset, indices: Uint32Array, named?: string): Dataset {
  checkDataset(dataset);
  const name = named ?? dataset.name;
  if (!isObject(indices) || !("length" in indices)) {
    throw new UsageError(`a subset takes the indices of its samples, not ${whatIs(indices)}`);
  }
  // Map an index outside the subset to one outside the dataset, which rejects it.
  const own = (rows: ArrayLike<number>) => Array.from(rows, (row) => indices[row] ?? -1);
  const part = (column: Column): Column => ({
    ...column,
    range: () => column.range(),
    fill: (rows, target, pass) => column.fill(own(rows), target, pass),
  });
  const { inputs, labels, fingerprint } = dataset;
  return {
    ...(fingerprint !== undefined && { fingerprint: `${fingerprint} ${indices.join()}` }),
    ...(dataset.sampleName && {
      sampleName: (row: number) => dataset.sampleName?.(indices[row] ?? -1) ?? "",
    }),
    ...(dataset.sampleRow && {
      sampleRow: (row: number) => dataset.sampleRow?.(indices[row] ?? -1) ?? -1,
    }),
    ...{ name, size: indices.length, x: dataset.x, y: dataset.y },
    ...(dataset.inOrder && { inOrder: true }),
    ...(dataset.changing && { changing: true }),
    ...(inputs && { inputs: new Map([...inputs].map(([key, column]) => [key, part(column)])) }),
    ...(labels && { labels: part(labels) }),
    fill: (rows, x, y, pass) => dataset.fill(own(rows), x, y, pass),
  };
}

/**
 * Passes the numbers of a column to a callback, some samples at a time. A column that answers with a promise is not read, but
 * for one sample that shows it: nothing decodes all samples before training, and only its range is known.
 */
export function eachRows(
  column: Column,
  size: number,
  visit: (values: Float64Array, first: number) => void,
): void {
  const width = Math.max(elementCount(column.shape), 1);
  const rows = Math.max(1, Math.floor(65_536 / width));
  for (let first = 0, count = 1; first < size; first += count) {
    count = first === 0 ? 1 : Math.min(rows, size - first);
    const values = new Float64Array(count * elementCount(column.shape));
    const filled = column.fill(
      Array.from({ length: count }, (_, i) => first + i),
      values,
    );
    if (isPending(filled)) {
      filled.catch(() => {});
      return;
    }
    visit(values, first);
  }
}
