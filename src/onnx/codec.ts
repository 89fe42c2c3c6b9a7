import protobuf from "protobufjs/minimal.js";
import { FileError, messageOf } from "../errors.ts";
import { onnx } from "./schema.js";

/** A plain Uint8Array view. Node's Buffer differs: its `slice` does not copy, and tests compare it unequal to other arrays. */
function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A reader that keeps fields this schema does not know, so that they survive a rewrite. */
function readerOf(bytes: Uint8Array): protobuf.Reader {
  const reader = protobuf.Reader.create(plainBytes(bytes));
  reader.discardUnknown = false;
  return reader;
}

/** A message from its bytes. @throws SorthError when they are none */
function decoded<Message>(type: { decode(reader: protobuf.Reader): Message }, bytes: Uint8Array): Message {
  try {
    return type.decode(readerOf(bytes));
  } catch (error) {
    throw new FileError(`not an ONNX model, or a truncated one (${messageOf(error)})`);
  }
}

/**
 * Decodes the bytes of an ONNX model. Raw tensor data stays a view into `bytes`; unknown fields are kept.
 * @throws SorthError when the bytes are not an ONNX model
 */
export function decodeModelProto(bytes: Uint8Array): onnx.ModelProto {
  if (bytes.length === 0) throw new FileError("the file is empty, not an ONNX model");
  const proto = decoded(onnx.ModelProto, bytes);
  if (!proto.graph) throw new FileError("not an ONNX model: it has no graph");
  return proto;
}

/** Encodes a model as ONNX bytes (at most 2 GB, the limit of protobuf). */
export function encodeModelProto(proto: onnx.ModelProto): Uint8Array {
  return plainBytes(onnx.ModelProto.encode(proto).finish());
}

export function encodeGraphProto(proto: onnx.GraphProto.$Properties): Uint8Array {
  return plainBytes(onnx.GraphProto.encode(proto).finish());
}

/** Encodes a node of a graph. */
export function encodeNodeProto(proto: onnx.NodeProto.$Properties): Uint8Array {
  return plainBytes(onnx.NodeProto.encode(proto).finish());
}

/** Decodes a node of a graph; unknown fields are kept. @throws SorthError when the bytes are none */
export function decodeNodeProto(bytes: Uint8Array): onnx.NodeProto {
  return decoded(onnx.NodeProto, bytes);
}

/** Encodes the name and type of a graph input or output. */
export function encodeValueInfoProto(proto: onnx.ValueInfoProto.$Properties): Uint8Array {
  return plainBytes(onnx.ValueInfoProto.encode(proto).finish());
}

/** Encodes an entry of metadata_props. */
export function encodeMetadataEntry(key: string, value: string): Uint8Array {
  return plainBytes(onnx.StringStringEntryProto.encode({ key, value }).finish());
}

/** Decodes an entry of metadata_props. */
export function decodeMetadataEntry(bytes: Uint8Array): onnx.StringStringEntryProto {
  return decoded(onnx.StringStringEntryProto, bytes);
}

/** Decodes a tensor; raw data stays a view. */
export function decodeTensorProto(bytes: Uint8Array): onnx.TensorProto {
  return decoded(onnx.TensorProto, bytes);
}

/** Decodes the name and type of a graph input, output or inner value. */
export function decodeValueInfoProto(bytes: Uint8Array): onnx.ValueInfoProto {
  return decoded(onnx.ValueInfoProto, bytes);
}

export function encodeTensorProto(proto: onnx.TensorProto.$Properties): Uint8Array {
  return plainBytes(onnx.TensorProto.encode(proto).finish());
}
