import { encodeTensorProto } from "../onnx/codec.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { bytesField, graphFields } from "../onnx/wire.ts";

/** A tensor as a record of a graph. */
export function initializerRecord(tensor: Tensor, docString = ""): Uint8Array {
  const proto = tensor.toProto();
  if (docString) proto.docString = docString;
  return bytesField(graphFields.initializer, encodeTensorProto(proto));
}
