import { decodeModelProto } from "./codec.ts";
import { joinedFile } from "./made-files.ts";
import type { onnx } from "./schema.js";
import { type ModelLayout, oddRecord, tagEnd } from "./splice.ts";
import { type Chunk, joinChunks, keepStored, type StoredBytes, type StoredFile } from "./stored.ts";
import {
  bytesField,
  concatBytes,
  damaged,
  type FieldRecord,
  graphFields,
  modelFields,
  recordAt,
  tensorFields,
  varint,
  wireTypes,
} from "./wire.ts";

/** Raw data of at least this many bytes stays in the file. */
const storedFrom = 64 * 1024;
/** Bytes that are read at a time to find records. */
const bufferSize = 8 * 1024;
/** Most bytes of a tag and a length. */
const longestHead = 20;

/** A model's file without the numbers of its large weights. */
export interface Skimmed {
  /** Records of the file as if the weights had no raw data; each knows its place in the file. */
  readonly layout: ModelLayout;
  /** Decodes the model; raw data that was left out is read from the file when it is used. */
  decode(): onnx.ModelProto;
}

/**
 * Reads everything of a model's file but the raw data of large initializers.
 * @returns undefined for a file whose records are unusual (no graph or several, groups): it has to be read as a whole
 * @throws SorthError when the file is damaged
 */
export function skim(file: StoredFile): Skimmed | undefined {
  const window = new Window(file);
  const model = window.records(0, file.size);
  const graphs = model?.filter(({ field }) => field === modelFields.graph) ?? [];
  const [graph] = graphs;
  if (!model || !graph || graphs.length > 1 || oddRecord(model, modelFields)) return undefined;
  const records = window.records(graph.payload, graph.end);
  if (!records || oddRecord(records, graphFields)) return undefined;

  const initializers: (StoredBytes | undefined)[] = [];
  const parts = records.map((record) => {
    if (record.field !== graphFields.initializer) return { record };
    const raw = rawDataOf(window, record);
    initializers.push(raw && { file, start: raw.payload, end: raw.end });
    return raw ? { record, instead: withoutField(file, record, raw) } : { record };
  });
  const length = parts.reduce(
    (sum, { record, instead }) => sum + (instead?.length ?? record.end - record.start),
    0,
  );
  const tag = tagEnd(file.read(graph.start, graph.payload), 0);
  const skeleton = new Skeleton(file);
  const layout = {
    before: model.slice(0, model.indexOf(graph)).map((record) => skeleton.add(record)),
    graphField: skeleton.open(
      graph,
      concatBytes([file.read(graph.start, graph.start + tag), varint(length)]),
      length,
    ),
    graph: parts.map(({ record, instead }) => skeleton.add(record, instead)),
    after: model.slice(model.indexOf(graph) + 1).map((record) => skeleton.add(record)),
  };
  const bytes = joinChunks(skeleton.chunks);
  return {
    layout: {
      ...{ bytes, graphField: layout.graphField, graph: layout.graph },
      model: [...layout.before, layout.graphField, ...layout.after],
      graphLengthWidth: graph.payload - graph.start - tag,
      origin: { file, of: (record) => skeleton.origins.get(record) ?? record },
    },
    decode() {
      const proto = decodeModelProto(bytes);
      initializers.forEach((data, i) => {
        const tensor = proto.graph?.initializer?.[i];
        if (data && tensor) keepStored(tensor, data);
      });
      return proto;
    },
  };
}

/** {@link skim} for a file that is not written yet. */
export const skimPieces = (pieces: readonly Chunk[]): Skimmed | undefined => skim(joinedFile(pieces));

/** The one large raw data of an initializer; undefined if it has none, or several. */
function rawDataOf(window: Window, { payload, end, wireType }: FieldRecord): FieldRecord | undefined {
  if (wireType !== wireTypes.bytes || end - payload < storedFrom) return undefined;
  const found = window.records(payload, end)?.filter(({ field }) => field === tensorFields.rawData) ?? [];
  const [raw] = found;
  return raw && found.length === 1 && raw.end - raw.payload >= storedFrom ? raw : undefined;
}

/** A record of a message without one of the message's fields. */
const withoutField = (
  file: StoredFile,
  { field, payload, end }: FieldRecord,
  left: FieldRecord,
): Uint8Array => bytesField(field, concatBytes([file.read(payload, left.start), file.read(left.end, end)]));

/** Reads the records of a file through a buffer, without their contents. */
class Window {
  readonly #file: StoredFile;
  #start = 0;
  #bytes: Uint8Array = new Uint8Array();

  constructor(file: StoredFile) {
    this.#file = file;
  }

  /** The fields of a message, as offsets into the file; undefined if it has groups. */
  records(start: number, end: number): FieldRecord[] | undefined {
    const records: FieldRecord[] = [];
    for (let offset = start; offset < end; ) {
      const at = this.#at(offset);
      const record = headOf(this.#bytes, offset - at, at);
      if (!record) return undefined;
      if (record.end > end) throw damaged(offset);
      records.push(record);
      offset = record.end;
    }
    return records;
  }

  /** Makes sure that a tag and a length at this offset are in the buffer. @returns where the buffer begins */
  #at(offset: number): number {
    const needed = Math.min(offset + longestHead, this.#file.size);
    if (offset < this.#start || needed > this.#start + this.#bytes.length) {
      this.#start = offset;
      const end = Math.min(offset + bufferSize, this.#file.size);
      this.#bytes = this.#file.peek?.(offset, end) ?? this.#file.read(offset, end);
    }
    return this.#start;
  }
}

/** A record that begins in a buffer, as offsets into the file; undefined for a group. */
function headOf(buffer: Uint8Array, start: number, shift: number): FieldRecord | undefined {
  const record = recordAt(buffer, start);
  return (
    record && {
      ...{ field: record.field, wireType: record.wireType },
      ...{ start: record.start + shift, payload: record.payload + shift, end: record.end + shift },
    }
  );
}

/** A copy of a file under construction, in which some records are shorter. */
class Skeleton {
  readonly chunks: Chunk[] = [];
  /** The records of the file that the copy's records come from. */
  readonly origins = new Map<FieldRecord, FieldRecord>();
  readonly #file: StoredFile;
  #length = 0;

  constructor(file: StoredFile) {
    this.#file = file;
  }

  /** Adds a record of the file, or other bytes for it. */
  add(record: FieldRecord, instead?: Uint8Array): FieldRecord {
    if (instead) return this.#place(record, recordAt(instead, 0) ?? record, instead);
    const last = this.chunks.at(-1);
    if (last && !(last instanceof Uint8Array) && last.end === record.start) {
      this.chunks[this.chunks.length - 1] = { ...last, end: record.end };
    } else this.chunks.push({ file: this.#file, start: record.start, end: record.end });
    return this.#moved(record, record, record.end - record.start);
  }

  /** Begins a message of the given length, whose records are added next. */
  open(record: FieldRecord, head: Uint8Array, length: number): FieldRecord {
    const own = { ...record, start: 0, payload: head.length, end: head.length + length };
    return this.#place(record, own, head);
  }

  #place(origin: FieldRecord, own: FieldRecord, bytes: Uint8Array): FieldRecord {
    this.chunks.push(bytes);
    return this.#moved(origin, own, bytes.length);
  }

  #moved(origin: FieldRecord, own: FieldRecord, added: number): FieldRecord {
    const shift = this.#length - own.start;
    const record = { ...own, start: this.#length, payload: own.payload + shift, end: own.end + shift };
    this.#length += added;
    this.origins.set(record, origin);
    return record;
  }
}
