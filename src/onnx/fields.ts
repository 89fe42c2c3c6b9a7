import Long from "long";
import type { DataTypeName } from "./data-types.ts";
import type { onnx } from "./schema.js";
import { int64Array } from "./tensor-data.ts";

/** Elements from the typed repeated fields of a message; those of small types, which `array` holds, are in int32_data. */
export function fromFields(
  proto: onnx.TensorProto.$Properties,
  type: DataTypeName,
  array: object,
): ArrayLike<number | bigint> {
  switch (type) {
    case "float":
    case "complex64":
      return Float32Array.from(proto.floatData ?? []);
    case "double":
    case "complex128":
      return Float64Array.from(proto.doubleData ?? []);
    case "int64":
      return int64Array(proto.int64Data ?? []);
    case "uint64":
      return BigUint64Array.from(proto.uint64Data ?? [], (value) => BigInt(`${Long.fromValue(value)}`));
    case "uint32":
      return Uint32Array.from(proto.uint64Data ?? [], (value) => Long.fromValue(value).toNumber());
    default: {
      const values = proto.int32Data ?? [];
      return (array as { from(of: number[]): ArrayLike<number> }).from(values);
    }
  }
}

/** Bytes of the elements in the typed repeated fields of a message, whose small types and unsigned ones have `width` bytes. */
export function bytesOfFields(proto: onnx.TensorProto.$Properties, width: number): number {
  const { floatData, doubleData, int64Data, uint64Data, int32Data } = proto;
  const count = (list: { readonly length: number } | null | undefined) => list?.length ?? 0;
  const own = count(uint64Data) + count(int32Data);
  return 4 * count(floatData) + 8 * (count(doubleData) + count(int64Data)) + width * own;
}
