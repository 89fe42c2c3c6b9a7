import type { onnx } from "../onnx/schema.js";
import { byteLengthOf, Tensor, viewOf } from "../onnx/tensor.ts";
import type { TypeAndShape } from "./run-node.ts";

/** Lets an Attention without a bias read zeros. @returns the zeros */
export function addZeroBias(
  attention: onnx.NodeProto.$Properties,
  weight: TypeAndShape | null | undefined,
): onnx.TensorProto.$Properties {
  const { type = "float", shape } = weight ?? {};
  const dims = [shape?.[1] ?? 0];
  const inputs = attention.input ?? [];
  const name = `${attention.output?.[0]}/bias`;
  attention.input = [...inputs.slice(0, 2), name, ...inputs.slice(3)];
  const zeros = viewOf(type, new Uint8Array(byteLengthOf(type, dims)));
  return Tensor.of(name, type, dims, zeros).toProto();
}
