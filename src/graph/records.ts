import { encodeMetadataEntry, encodeNodeProto, encodeValueInfoProto } from "../onnx/codec.ts";
import { bytesField, graphFields, modelFields } from "../onnx/wire.ts";
import type { Node, Value } from "./node.ts";
import { nodeToProto, valueInfo } from "./proto.ts";

// Records that a splice puts into a file.

export const nodeRecord = (node: Node): Uint8Array =>
  bytesField(graphFields.node, encodeNodeProto(nodeToProto(node)));

export const inputRecord = (input: Value): Uint8Array =>
  bytesField(graphFields.input, encodeValueInfoProto(valueInfo(input)));

export const outputRecord = (output: Value): Uint8Array =>
  bytesField(graphFields.output, encodeValueInfoProto(valueInfo(output)));

export const metadataRecord = (key: string, text: string): Uint8Array =>
  bytesField(modelFields.metadataProps, encodeMetadataEntry(key, text));
