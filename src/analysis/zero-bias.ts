import type { DataTypeName } from "../onnx/data-types.ts";
import type { onnx } from "../onnx/schema.js";
import { byteLengthOf, Tensor, viewOf } from "../onnx/tensor.ts";

export const zeroBias = (name: string, type: DataTypeName, columns: number): Tensor =>
  Tensor.of(name, type, [columns], viewOf(type, new Uint8Array(byteLengthOf(type, [columns]))));

/** Lets an Attention without a bias read zeros. @returns the zeros */
export function addZeroBias(
  attention: onnx.NodeProto.$Properties,
  weight:
    | { readonly type: DataTypeName | undefined; readonly shape: readonly number[] | undefined }
    | null
    | undefined,
): onnx.TensorProto.$Properties {
  const { type = "float", shape } = weight ?? {};
  const inputs = attention.input ?? [];
  const name = `${attention.output?.[0]}/bias`;
  attention.input = [...inputs.slice(0, 2), name, ...inputs.slice(3)];
  return zeroBias(name, type, shape?.[1] ?? 0).toProto();
}
