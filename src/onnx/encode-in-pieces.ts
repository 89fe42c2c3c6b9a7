import { encodeGraphProto, encodeModelProto, encodeTensorProto } from "./codec.ts";
import type { onnx } from "./schema.js";
import { type Chunk, chunkSize, storedBytes } from "./stored.ts";
import type { Tensor } from "./tensor.ts";
import {
  bytesField,
  concatBytes,
  graphFields,
  modelFields,
  tensorFields,
  varint,
  wireTypes,
} from "./wire.ts";

/** Raw data in memory of at least this many bytes is a piece of its own. */
const apartFrom = 1024 * 1024;

/**
 * Encodes a model without copying the numbers of its large initializers: each is a piece of its own, and one that lies in a
 * file is not read. These initializers come last in the graph.
 */
export function encodeInPieces(proto: onnx.ModelProto): Chunk[] {
  const { graph } = proto;
  const large = new Map(
    (graph?.initializer ?? []).flatMap((tensor) => {
      const data = dataApart(tensor);
      return data ? [[tensor, data] as const] : [];
    }),
  );
  if (!graph || large.size === 0) return [encodeModelProto(proto)];
  const small = (graph.initializer ?? []).filter((tensor) => !large.has(tensor));
  const rest = encodeGraphProto(copyWith(graph, { initializer: small }));
  const weights = [...large].flatMap(([tensor, data]) => [tensorHead(tensor, chunkSize(data)), data]);
  const length = [rest, ...weights].reduce((sum, chunk) => sum + chunkSize(chunk), 0);
  return [
    concatBytes([
      encodeModelProto(copyWith(proto, { graph: null })),
      fieldHead(modelFields.graph, length),
      rest,
    ]),
    ...weights,
  ];
}

/** Raw data that becomes a piece of its own: all that lies in a file, and large ones in memory. */
function dataApart(tensor: onnx.TensorProto.$Properties): Chunk | undefined {
  const stored = storedBytes(tensor);
  if (stored) return stored;
  return (tensor.rawData?.length ?? 0) >= apartFrom ? (tensor.rawData ?? undefined) : undefined;
}

/** A tensor as the record of a graph, in pieces: the numbers of a large one are not copied, and those in a file are not read. */
export function initializerRecord(tensor: Tensor, docString = ""): Chunk[] {
  const proto = tensor.toProto();
  if (docString) proto.docString = docString;
  const data = dataApart(proto);
  if (data) return [tensorHead(proto, chunkSize(data)), data];
  return [bytesField(graphFields.initializer, encodeTensorProto(proto))];
}

/** The record of an initializer up to its raw data, which is its last field. */
function tensorHead(tensor: onnx.TensorProto.$Properties, dataLength: number): Uint8Array {
  const fields = encodeTensorProto(copyWith(tensor, { rawData: null }));
  const head = fieldHead(tensorFields.rawData, dataLength);
  return concatBytes([
    fieldHead(graphFields.initializer, fields.length + head.length + dataLength),
    ...[fields, head],
  ]);
}

/** Tag and length of a field that holds bytes. */
const fieldHead = (field: number, length: number): Uint8Array =>
  concatBytes([varint(field * 8 + wireTypes.bytes), varint(length)]);

/** A copy of a message in which some fields have other values; fields that this schema does not know stay. */
function copyWith<M extends object>(message: M, changes: Partial<M>): M {
  const { ...descriptors } = Object.getOwnPropertyDescriptors(message);
  for (const [key, value] of Object.entries(changes)) {
    Object.assign(descriptors, { [key]: { value, writable: true, enumerable: true, configurable: true } });
  }
  return Object.create(Object.getPrototypeOf(message), descriptors);
}
