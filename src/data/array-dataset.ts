import { SorthError, UsageError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { BatchArray, Dataset, SampleType, TargetType } from "./dataset.ts";

/** Arrays that a dataset can be made of. */
export type SourceArray =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** Source arrays whose elements are plain numbers. */
type NumberArray = Exclude<SourceArray, BigInt64Array | BigUint64Array>;

/** Options of {@link arrayDataset}. */
export interface ArrayDatasetOptions {
  /** Where the data comes from, for messages (default "the data"). */
  readonly name?: string;
  /** Bytes are read as (v/255 − mean)/std; only for a Uint8Array x. Without it elements are taken as they are. */
  readonly normalize?: { readonly mean: number; readonly std: number };
  /** Shape of one sample's y; default [] for one element a sample, else [elements a sample]. */
  readonly targetShape?: readonly number[];
}

/**
 * A dataset over arrays in memory, which are kept, not copied (64-bit integers are converted once).
 *
 * @param x - [samples, …shape]
 * @param y - integers are class labels (0, 1, …), floats are targets
 * @param shape - shape of one sample of x
 * @throws SorthError when the counts of x and y differ, for NaN or Infinity, and for labels that are negative or huge.
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
  const name = options.name ?? "the data";
  const size = sampleCount(name, x.length, shape);
  const perTarget = y.length / size;
  const targetShape = options.targetShape ?? (perTarget === 1 ? [] : [perTarget]);
  if (perTarget !== elementCount(targetShape) || !Number.isInteger(perTarget)) {
    const each = options.targetShape ? ` of shape ${shapeText(targetShape)}` : "";
    throw new SorthError(
      `${name}: x has ${size} samples, but y has ${y.length} elements; give one y${each} for every x`,
    );
  }
  const [inputs, targets] = [asNumbers(x), asNumbers(y)];
  refuseNonFinite(name, "x", inputs, elementCount(shape));
  refuseNonFinite(name, "y", targets, elementCount(targetShape));
  const table = options.normalize ? byteTable(x, options.normalize) : undefined;
  const sample: SampleType = { type: isFloatArray(x) || table ? "float" : "integer", shape };
  const target: TargetType = isFloatArray(y)
    ? { type: "float", shape: targetShape }
    : { type: "integer", shape: targetShape, classes: classCount(name, targets) };
  return {
    name,
    size,
    x: sample,
    y: target,
    fill(indices, xTarget, yTarget) {
      copyRows(name, inputs, size, elementCount(shape), indices, xTarget, table);
      copyRows(name, targets, size, elementCount(targetShape), indices, yTarget);
    },
  };
}

function sampleCount(name: string, length: number, shape: readonly number[]): number {
  const size = length / elementCount(shape);
  if (Number.isInteger(size) && size > 0) return size;
  if (length === 0) throw new SorthError(`${name}: there are no samples`);
  throw new SorthError(
    `${name}: ${length} elements of x are no whole number of samples of shape ${shapeText(shape)}`,
  );
}

const isFloatArray = (array: SourceArray): boolean =>
  array instanceof Float32Array || array instanceof Float64Array;

/** 64-bit integers as doubles; other arrays as they are. */
function asNumbers(array: SourceArray): NumberArray {
  if (array instanceof BigInt64Array || array instanceof BigUint64Array)
    return Float64Array.from(array, Number);
  return array;
}

function refuseNonFinite(name: string, part: string, values: NumberArray, perSample: number): void {
  if (!isFloatArray(values)) return;
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  throw new SorthError(
    `${name}: ${part} holds ${values[at]} in sample ${Math.floor(at / perSample)} (element ${at % perSample}); remove or replace such values`,
  );
}

/** The largest label plus one. */
function classCount(name: string, labels: NumberArray): number {
  let largest = 0;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] as number;
    if (label < 0 || label > 0x7fffffff) {
      throw new SorthError(
        `${name}: y holds the label ${label} at element ${i}; labels count classes from 0`,
      );
    }
    if (label > largest) largest = label;
  }
  return largest + 1;
}

/** (v/255 − mean)/std for every byte v. */
function byteTable(x: SourceArray, { mean, std }: { mean: number; std: number }): Float32Array {
  if (!(x instanceof Uint8Array)) throw new UsageError("normalize applies to bytes: x must be a Uint8Array");
  if (!(std > 0)) throw new UsageError(`normalize: the standard deviation is ${std}, not a positive number`);
  return Float32Array.from({ length: 256 }, (_, v) => (v / 255 - mean) / std);
}

function copyRows(
  name: string,
  source: NumberArray,
  size: number,
  width: number,
  indices: ArrayLike<number>,
  target: BatchArray,
  table?: Float32Array,
): void {
  if (target.length < indices.length * width) {
    throw new SorthError(
      `${name}: ${indices.length} samples need ${indices.length * width} elements, the array holds ${target.length}`,
    );
  }
  for (let row = 0; row < indices.length; row++) {
    const index = indices[row] as number;
    if (!(index >= 0 && index < size))
      throw new SorthError(`${name}: sample ${index} is not in 0 … ${size - 1}`);
    copyRow(source, index * width, width, target, row * width, table);
  }
}

/** One row, each element copied once, looked up or converted on the way. */
function copyRow(
  source: NumberArray,
  from: number,
  width: number,
  target: BatchArray,
  to: number,
  table: Float32Array | undefined,
): void {
  if (target instanceof BigInt64Array) {
    for (let i = 0; i < width; i++) target[to + i] = BigInt(source[from + i] as number);
  } else if (table) {
    for (let i = 0; i < width; i++) target[to + i] = table[source[from + i] as number] as number;
  } else {
    target.set(source.subarray(from, from + width), to);
  }
}
