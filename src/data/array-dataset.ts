import { DataError, UsageError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import { checkKnown, checkOptions, type OptionNames } from "../known-options.ts";
import { elementCount } from "../onnx/tensor.ts";
import { isWide } from "../onnx/tensor-data.ts";
import { type BatchArray, type Column, type Dataset, datasetOfColumns, type NumberRange } from "./dataset.ts";
import { checkShape, type SourceArray, sourceArray } from "./source-array.ts";

export type { SourceArray } from "./source-array.ts";

/** Options of {@link arrayDataset}. */
export interface ArrayDatasetOptions {
  /** Source of the data, for messages (default "the data"). */
  readonly name?: string;
  /** Converts each byte v to (v/255 − mean)/std; only for a Uint8Array x. Default: elements stay unchanged. */
  readonly normalize?: { readonly mean: number; readonly std: number };
  /** Shape of one sample's y; default [] for one element per sample, else [elements per sample]. */
  readonly targetShape?: readonly number[];
}

const optionNames = {
  ...{ name: "text", normalize: true, targetShape: "list" },
} as const satisfies OptionNames<ArrayDatasetOptions>;

/** An array of samples: its elements, and the shape of one sample. */
export interface SampleArray {
  readonly data: SourceArray;
  /** Shape of one sample; default [], one element per sample. */
  readonly shape?: readonly number[];
  /** Name of the type in the source, for messages; default: that of the elements. */
  readonly dtype?: string;
}

/** Arrays of {@link namedDataset}. */
export interface NamedArrays {
  /** Source of the data, for messages (default "the data"). */
  readonly name?: string;
  /** The arrays to feed, by the names of the model's inputs. */
  readonly inputs: Readonly<Record<string, SampleArray>>;
  /** Class labels (integers) or targets (floats). */
  readonly labels?: SampleArray;
}

/**
 * A dataset over arrays in memory. It keeps the arrays without copying them (64-bit integers are converted once).
 *
 * @param x - [samples, …shape]
 * @param y - [samples, …targetShape]; integers are class labels (0, 1, …) or targets, floats are targets
 * @param shape - shape of one sample of x
 * @throws SorthError when x and y have different numbers of samples, and for NaN or Infinity
 *
 * @example
 * const data = arrayDataset(new Float32Array(300), new Int32Array(100), [3]); // 100 samples of 3 numbers
 */
export function arrayDataset(
  x: SourceArray,
  y: SourceArray,
  shape: readonly number[],
  options: ArrayDatasetOptions = {},
): Dataset {
  checkKnown("arrayDataset", options, optionNames);
  const name = options.name ?? "the data";
  const [xs, ys] = [sourceArray(name, "x", x), sourceArray(name, "y", y)];
  checkShape(name, "the shape of a sample", shape);
  if (options.targetShape !== undefined) checkShape(name, "targetShape", options.targetShape);
  const size = sampleCount(name, "x", xs.length, shape);
  const perTarget = ys.length / size;
  const targetShape = options.targetShape ?? (perTarget === 1 ? [] : [perTarget]);
  if (perTarget !== elementCount(targetShape) || !Number.isInteger(perTarget)) {
    const each = options.targetShape ? ` of shape ${shapeText(targetShape)}` : "";
    throw new DataError(
      `${name}: x has ${size} samples, but y has ${ys.length} elements; give one y${each} for every x`,
    );
  }
  const table = options.normalize ? byteTable(xs, options.normalize) : undefined;
  return datasetOfColumns(
    ...([name, size] as const),
    [
      {
        ...arrayColumn(name, "x", size, { data: xs, shape }, table),
        ...(options.normalize && { scaled: options.normalize }),
      },
    ],
    labelled(arrayColumn(name, "y", size, { data: ys, shape: targetShape })),
  );
}

/**
 * A dataset for a model with several inputs, over arrays in memory.
 * @throws SorthError when the arrays have different numbers of samples, and for NaN or Infinity
 *
 * @example
 * // 100 samples of two classes, each with three numbers and a time
 * const data = namedDataset({
 *   inputs: { x: { data: new Float32Array(300), shape: [3] }, t: { data: new Float32Array(100) } },
 *   labels: { data: new Int32Array(100) },
 * });
 */
export function namedDataset(given: NamedArrays): Dataset {
  checkKnown("namedDataset", given, { name: "text", inputs: true, labels: true });
  checkOptions("inputs of namedDataset", given.inputs);
  const { name = "the data" } = given;
  const arrays = Object.entries(given.inputs).map(
    ([key, array]) => [key, checkedArray(name, key, array)] as const,
  );
  const labels = given.labels && checkedArray(name, "labels", given.labels);
  const [first] = arrays;
  if (!first) throw new DataError(`${name}: no array of data was given`);
  const size = sampleCount(name, first[0], first[1].data.length, first[1].shape ?? []);
  return datasetOfColumns(
    ...([name, size] as const),
    arrays.map(([key, array]) => arrayColumn(name, key, size, array)),
    labels && labelled(arrayColumn(name, "labels", size, labels)),
  );
}

/** @throws UsageError for what is no array with its shape */
function checkedArray(name: string, key: string, array: SampleArray): SampleArray {
  checkKnown(`${name}: ${key}`, array, { data: true, shape: true, dtype: true });
  if (array.shape !== undefined) checkShape(name, `the shape of ${key}`, array.shape);
  return { ...array, data: sourceArray(name, key, array.data) };
}

/**
 * One array of a dataset.
 * @param name - name of the dataset, for messages
 * @param key - name of the array
 * @param table - the number for each byte value
 * @throws SorthError when the array does not have one row per sample, and for NaN or Infinity
 */
export function arrayColumn(
  name: string,
  key: string,
  size: number,
  { data, shape = [], dtype = dtypeOf(data) }: SampleArray,
  table?: Float32Array,
): Column {
  const width = elementCount(shape);
  if (data.length !== size * width) {
    throw new DataError(
      `${name}: ${key} has ${data.length} elements, but ${size} samples of shape ${shapeText(shape)} need ${size * width}`,
    );
  }
  refuseNonFinite(name, key, data, width);
  const values = exactNumbers(data);
  const float = isFloatArray(data) || table !== undefined;
  let found: NumberRange | undefined;
  const range = () => {
    found ??= rangeOf(table ?? values);
    return found;
  };
  return {
    ...{ name: key, type: float ? "float" : "integer", shape, dtype },
    bytes: !table && (data instanceof Uint8Array || data instanceof Uint8ClampedArray),
    ...(table && { black: table[0] ?? 0 }),
    range,
    fill(indices, target) {
      if (values.length === 0) {
        throw new DataError(
          `${name}: the numbers of ${key} are gone, since their buffer was transferred (postMessage, structuredClone): keep a copy here`,
        );
      }
      copyRows(name, values, size, width, indices, target, table);
    },
  };
}

/** The column as labels, with the number of classes if it holds integers. */
export const labelled = (column: Column): Column =>
  column.type === "integer" ? { ...column, classes: Math.max(column.range().most + 1, 0) } : column;

function sampleCount(name: string, key: string, length: number, shape: readonly number[]): number {
  const size = length / elementCount(shape);
  if (Number.isInteger(size) && size > 0) return size;
  if (length === 0) throw new DataError(`${name}: there are no samples`);
  throw new DataError(
    `${name}: ${key} has ${length} elements, which is not a multiple of a sample's shape ${shapeText(shape)}`,
  );
}

/** `uint8` for a Uint8Array, and so on. */
const dtypeOf = (array: SourceArray): string =>
  array.constructor.name
    .replace(/(Clamped)?Array$/, "")
    .replace("Big", "")
    .toLowerCase();

const isFloatArray = (array: SourceArray): boolean =>
  array instanceof Float32Array || array instanceof Float64Array;

/** 64-bit integers as doubles if these represent them exactly; other arrays unchanged. */
function exactNumbers(array: SourceArray): SourceArray {
  if (!isWide(array)) return array;
  for (const value of array) {
    if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) return array;
  }
  return Float64Array.from(array as BigInt64Array, Number);
}

function rangeOf(values: SourceArray): NumberRange {
  let [least, most, whole] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, true];
  for (let i = 0; i < values.length; i++) {
    const value = Number(values[i]);
    if (value < least) least = value;
    if (value > most) most = value;
    if (whole && !Number.isInteger(value)) whole = false;
  }
  return { least, most, whole };
}

function refuseNonFinite(name: string, key: string, values: SourceArray, perSample: number): void {
  if (!isFloatArray(values)) return;
  const at = (values as Float32Array).findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  throw new DataError(
    `${name}: ${key} holds ${values[at]} in sample ${Math.floor(at / perSample)} (element ${at % perSample}); remove or replace such values`,
  );
}

/** (v/255 − mean)/std for every byte value v. */
function byteTable(x: SourceArray, { mean, std }: { mean: number; std: number }): Float32Array {
  if (!(x instanceof Uint8Array)) throw new UsageError("normalize applies to bytes: x must be a Uint8Array");
  if (!(std > 0)) throw new UsageError(`normalize: the standard deviation is ${std}, not a positive number`);
  return Float32Array.from({ length: 256 }, (_, v) => (v / 255 - mean) / std);
}

function copyRows(
  name: string,
  source: SourceArray,
  size: number,
  width: number,
  indices: ArrayLike<number>,
  target: BatchArray,
  table?: Float32Array,
): void {
  if (target.length < indices.length * width) {
    throw new DataError(
      `${name}: ${indices.length} samples need ${indices.length * width} elements, the array holds ${target.length}`,
    );
  }
  for (let row = 0; row < indices.length; row++) {
    const index = indices[row] as number;
    if (!(index >= 0 && index < size))
      throw new DataError(`${name}: sample ${index} is not in 0 … ${size - 1}`);
    copyRow(source, index * width, width, target, row * width, table);
  }
}

/** Copies one row; converts each element, or looks it up in the table. */
function copyRow(
  source: SourceArray,
  from: number,
  width: number,
  target: BatchArray,
  to: number,
  table: Float32Array | undefined,
): void {
  if (isWide(target)) {
    for (let i = 0; i < width; i++) target[to + i] = BigInt(source[from + i] as number | bigint);
  } else if (isWide(source)) {
    for (let i = 0; i < width; i++) target[to + i] = Number(source[from + i]);
  } else if (table) {
    for (let i = 0; i < width; i++) target[to + i] = table[source[from + i] as number] as number;
  } else {
    target.set(source.subarray(from, from + width), to);
  }
}
