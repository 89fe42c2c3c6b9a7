/** Element types of ONNX tensors, by their number in TensorProto.data_type. */
export const DataType = {
  undefined: 0,
  float: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  double: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  complex128: 15,
  bfloat16: 16,
  float8e4m3fn: 17,
  float8e4m3fnuz: 18,
  float8e5m2: 19,
  float8e5m2fnuz: 20,
  uint4: 21,
  int4: 22,
  float4e2m1: 23,
  float8e8m0: 24,
  uint2: 25,
  int2: 26,
} as const;

/** Name of an ONNX element type, as ONNX spells it in lower case. */
export type DataTypeName = keyof typeof DataType;

const names = new Map<number, DataTypeName>(
  Object.entries(DataType).map(([name, code]) => [code, name as DataTypeName]),
);

/** The name of a data type number; `undefined` for a number that this version does not know. */
export function dataTypeName(code: number): DataTypeName {
  return names.get(code) ?? "undefined";
}

/** Bits of one element as stored in raw_data; 0 for strings. */
export const bitsPerElement: Record<DataTypeName, number> = {
  undefined: 0,
  float: 32,
  uint8: 8,
  int8: 8,
  uint16: 16,
  int16: 16,
  int32: 32,
  int64: 64,
  string: 0,
  bool: 8,
  float16: 16,
  double: 64,
  uint32: 32,
  uint64: 64,
  complex64: 64,
  complex128: 128,
  bfloat16: 16,
  float8e4m3fn: 8,
  float8e4m3fnuz: 8,
  float8e5m2: 8,
  float8e5m2fnuz: 8,
  uint4: 4,
  int4: 4,
  float4e2m1: 4,
  float8e8m0: 8,
  uint2: 2,
  int2: 2,
};

/** Whether a type is a 16-bit float (float16, bfloat16). */
export const isHalf = (type: DataTypeName | undefined): boolean => type === "float16" || type === "bfloat16";

/** Whether gradients can flow through values of this type (float, double, float16, bfloat16). */
export function isFloat(type: DataTypeName | undefined): boolean {
  return type === "float" || type === "double" || isHalf(type);
}
