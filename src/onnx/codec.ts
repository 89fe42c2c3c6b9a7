import protobuf from "protobufjs/minimal.js";
import { messageOf, SorthError } from "../errors.ts";
import { onnx } from "./schema.js";

/** A reader that keeps fields this schema does not know, so that they survive a rewrite. */
function readerOf(bytes: Uint8Array): protobuf.Reader {
  const reader = protobuf.Reader.create(bytes);
  reader.discardUnknown = false;
  return reader;
}

/**
 * Decodes the bytes of an ONNX model. Raw tensor data stays a view into `bytes`; unknown fields are kept.
 * @throws SorthError when the bytes are not an ONNX model.
 */
export function decodeModelProto(bytes: Uint8Array): onnx.ModelProto {
  if (bytes.length === 0) throw new SorthError("the file is empty, not an ONNX model");
  let proto: onnx.ModelProto;
  try {
    proto = onnx.ModelProto.decode(readerOf(bytes));
  } catch (error) {
    throw new SorthError(`not an ONNX model, or a truncated one (${messageOf(error)})`);
  }
  if (!proto.graph) throw new SorthError("not an ONNX model: it has no graph");
  return proto;
}

/** Encodes a model as ONNX bytes (at most 2 GB, the limit of protobuf). */
export function encodeModelProto(proto: onnx.ModelProto): Uint8Array {
  return onnx.ModelProto.encode(proto).finish();
}
