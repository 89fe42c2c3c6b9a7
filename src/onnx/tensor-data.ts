import Long from "long";
import { bitsPerElement, type DataTypeName } from "./data-types.ts";

/** Arrays of numbers, of the types that models declare for data and labels. */
export type NumericArray =
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

/**
 * Elements of a tensor. float16 and bfloat16 are stored as their bits in a Uint16Array, float8 and bool as bytes; 4-bit
 * and 2-bit elements stay packed in bytes, first element in the low bits; complex numbers are pairs; strings are UTF-8
 * bytes.
 */
export type TensorData = NumericArray | readonly Uint8Array[];

/** Makes an array of numbers. */
interface ArrayType {
  new (length: number): NumericArray;
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): NumericArray;
  from<T>(values: ArrayLike<T>, convert: (value: T) => unknown): NumericArray;
  readonly BYTES_PER_ELEMENT: number;
}

/** The arrays of types whose elements are no bytes. */
const arrays: Partial<Record<DataTypeName, unknown>> = {
  float: Float32Array,
  double: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  complex64: Float32Array,
  complex128: Float64Array,
};

/** The array for a type's elements. */
export const arrayFor = (type: DataTypeName): ArrayType => (arrays[type] ?? Uint8Array) as ArrayType;

/** Types of numbers that ONNX Runtime's JavaScript bindings feed and fetch (not bfloat16, float8, packed and complex ones). */
export const boundTypes: ReadonlySet<DataTypeName> = new Set([
  ...(["float", "double", "float16", "bool"] as const),
  ...(["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"] as const),
]);

/**
 * Integers of 64 bits. A double holds 2^63 − 1, "until the end" in a Slice, as 2^63, which BigInt64Array would turn into −2^63.
 * @throws RangeError for numbers that are no integers
 */
export const int64Array = (values: readonly (number | Long)[]): BigInt64Array<ArrayBuffer> =>
  BigInt64Array.from(values, (value) => {
    if (typeof value === "number") return value === 2 ** 63 ? 2n ** 63n - 1n : BigInt(value);
    return BigInt(`${Long.fromValue(value)}`);
  });

/** Whether an array holds integers of 64 bits, as BigInt. */
export const isWide = (array: object): array is BigInt64Array | BigUint64Array =>
  array instanceof BigInt64Array || array instanceof BigUint64Array;

/** The number of elements of a shape; 1 for a scalar. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/** The size of a tensor's raw data in bytes (packed types round up to a whole byte). */
export function byteLengthOf(type: DataTypeName, dims: readonly number[]): number {
  return Math.ceil((elementCount(dims) * bitsPerElement[type]) / 8);
}

/** A typed array over raw little-endian bytes: a view if alignment allows, else a copy. */
export function viewOf(type: DataTypeName, bytes: Uint8Array): NumericArray {
  const array = arrayFor(type);
  const size = array.BYTES_PER_ELEMENT;
  // Not slice(): a Buffer's slice does not copy.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new array(aligned.buffer, aligned.byteOffset, Math.floor(bytes.byteLength / size));
}
