import { bitsPerElement, type DataTypeName } from "./data-types.ts";

/**
 * Elements of a tensor. float16 and bfloat16 are stored as their bits in a Uint16Array, float8 and bool as bytes; 4-bit
 * and 2-bit elements stay packed in bytes, first element in the low bits; complex numbers are pairs; strings are UTF-8
 * bytes.
 */
export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | readonly Uint8Array[];

export type NumericArray = Exclude<TensorData, readonly Uint8Array[]>;
type ArrayConstructor = {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): NumericArray;
  readonly BYTES_PER_ELEMENT: number;
};

/** The array for a type's elements, where it is no Uint8Array. */
export const constructors: Partial<Record<DataTypeName, ArrayConstructor>> = {
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
  const array = constructors[type] ?? Uint8Array;
  const size = array.BYTES_PER_ELEMENT;
  // Not slice(): a Buffer's slice does not copy.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new array(aligned.buffer, aligned.byteOffset, Math.floor(bytes.byteLength / size));
}
