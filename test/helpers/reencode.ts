import fc from "fast-check";
import { concatBytes, type FieldRecord, fieldRecords, varint, wireTypes } from "../../src/onnx/wire.ts";

/** Differences in how another encoder may write the same message. */
export interface Encoding {
  /** Number of bytes to which tags and lengths are padded; protobuf's own readers accept at most 5. */
  readonly padding?: number;
  /** Seed for another order of the fields; fields with the same number keep their order. */
  readonly shuffle?: number;
  /** Whether repeated integers (of attributes, and dims of tensors) are packed. */
  readonly packed?: boolean;
  /** Whether each message gets fields that no reader knows, including a group. */
  readonly unknown?: boolean;
}

/** Any of them, each field given or not. */
export const encodings: fc.Arbitrary<Encoding> = fc.record(
  {
    padding: fc.integer({ min: 1, max: 5 }),
    shuffle: fc.integer({ min: 0, max: 2 ** 31 }),
    packed: fc.boolean(),
    unknown: fc.boolean(),
  },
  { requiredKeys: [] },
);

/** A message type: the fields that hold messages, and those that hold repeated integers. */
interface Schema {
  readonly messages: Readonly<Record<number, string>>;
  readonly integers?: readonly number[];
}

const schemas: Readonly<Record<string, Schema>> = {
  model: { messages: { 7: "graph", 8: "opset", 14: "entry" } },
  graph: { messages: { 1: "node", 5: "tensor", 11: "valueInfo", 12: "valueInfo", 13: "valueInfo" } },
  node: { messages: { 5: "attribute" } },
  attribute: { messages: { 5: "tensor", 6: "graph", 10: "tensor", 11: "graph" }, integers: [8] },
  tensor: { messages: {}, integers: [1] },
  opset: { messages: {} },
  entry: { messages: {} },
  valueInfo: { messages: {} },
};

/** The same ONNX model as another encoder might have written it. */
export function reencode(model: Uint8Array, encoding: Encoding): Uint8Array {
  return message(model, "model", encoding);
}

function message(bytes: Uint8Array, type: string, encoding: Encoding): Uint8Array {
  const schema = schemas[type] as Schema;
  const records = fieldRecords(bytes);
  const written: { field: number; bytes: Uint8Array }[] = [];
  for (const record of records) {
    if (encoding.packed && schema.integers?.includes(record.field) && record.wireType === wireTypes.varint) {
      if (written.some(({ field }) => field === record.field)) continue;
      const all = records.filter(({ field }) => field === record.field);
      const payload = concatBytes(all.map(({ payload, end }) => bytes.subarray(payload, end)));
      written.push({ field: record.field, bytes: withLength(record.field, payload, encoding) });
    } else written.push({ field: record.field, bytes: rewritten(bytes, record, schema, encoding) });
  }
  if (encoding.unknown) written.push(...unknownFields);
  if (encoding.shuffle !== undefined) shuffle(written, encoding.shuffle);
  return concatBytes(written.map((piece) => piece.bytes));
}

function rewritten(bytes: Uint8Array, record: FieldRecord, schema: Schema, encoding: Encoding): Uint8Array {
  const payload = bytes.subarray(record.payload, record.end);
  const inner = schema.messages[record.field];
  if (record.wireType === wireTypes.bytes) {
    return withLength(record.field, inner ? message(payload, inner, encoding) : payload, encoding);
  }
  const tag = varint(record.field * 8 + record.wireType, encoding.padding);
  return concatBytes([tag, payload]);
}

function withLength(field: number, payload: Uint8Array, { padding }: Encoding): Uint8Array {
  return concatBytes([
    varint(field * 8 + wireTypes.bytes, padding),
    varint(payload.length, padding),
    payload,
  ]);
}

const tag = (field: number, wireType: number): Uint8Array => varint(field * 8 + wireType);

/** One field of each wire type, with field numbers that ONNX does not use. */
const unknownFields = [
  { field: 1000, bytes: concatBytes([tag(1000, wireTypes.varint), varint(7, 3)]) },
  { field: 1001, bytes: concatBytes([tag(1001, wireTypes.fixed32), new Uint8Array(4)]) },
  { field: 1002, bytes: concatBytes([tag(1002, wireTypes.fixed64), new Uint8Array(8)]) },
  {
    field: 1003,
    bytes: concatBytes([
      tag(1003, wireTypes.groupStart),
      tag(1, wireTypes.bytes),
      varint(2),
      new Uint8Array(2),
      tag(2, wireTypes.groupStart),
      tag(2, wireTypes.groupEnd),
      tag(1003, wireTypes.groupEnd),
    ]),
  },
];

/** Interleaves the fields at random; fields with the same number keep their order. */
function shuffle(fields: { field: number; bytes: Uint8Array }[], seed: number): void {
  let state = seed >>> 0;
  const next = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const order = fields.map(({ field }) => field);
  for (let i = order.length - 1; i > 0; i--) {
    const j = next(i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  const queues = new Map<number, { field: number; bytes: Uint8Array }[]>();
  for (const piece of fields) queues.set(piece.field, [...(queues.get(piece.field) ?? []), piece]);
  const shuffled = order.map((field) => queues.get(field)?.shift() as { field: number; bytes: Uint8Array });
  fields.splice(0, fields.length, ...shuffled);
}
