import { FileError } from "../errors.ts";
import { type Chunk, chunkSize, type StoredFile } from "./stored.ts";
import {
  damaged,
  type FieldRecord,
  fieldRecords,
  graphFields,
  modelFields,
  varint,
  wireTypes,
} from "./wire.ts";

/** The positions of the records in a model's file: those of the model and those of its graph. */
export interface ModelLayout {
  readonly bytes: Uint8Array;
  readonly model: readonly FieldRecord[];
  /** The record of the model that contains the graph. */
  readonly graphField: FieldRecord;
  readonly graph: readonly FieldRecord[];
  /** Number of bytes that encode the graph's length; encoders may use more than necessary. */
  readonly graphLengthWidth: number;
  /** If `bytes` leave out raw data of weights: the file that has it, and the place of each record there. */
  readonly origin?: { readonly file: StoredFile; readonly of: (record: FieldRecord) => FieldRecord };
}

/** What a record of a model's file holds. */
export const payloadOf = ({ bytes }: ModelLayout, { payload, end }: FieldRecord): Uint8Array =>
  bytes.subarray(payload, end);

/**
 * Finds the records of a model's file.
 * @throws SorthError when the file is damaged, has no graph, or holds its graph in several parts
 */
export function layoutOf(bytes: Uint8Array): ModelLayout {
  const model = fieldRecords(bytes);
  const graphs = model.filter(({ field }) => field === modelFields.graph);
  const [graphField] = graphs;
  if (!graphField) throw new FileError("not an ONNX model: it has no graph");
  if (graphs.length > 1) {
    throw new FileError(
      `the file holds its graph in ${graphs.length} parts, which cannot be edited; load and save it once with another tool`,
    );
  }
  const graph = fieldRecords(bytes, graphField.payload, graphField.end);
  const odd = oddRecord(model, modelFields) ?? oddRecord(graph, graphFields);
  if (odd) throw damaged(odd.start);
  return {
    bytes,
    model,
    graphField,
    graph,
    graphLengthWidth: graphField.payload - tagEnd(bytes, graphField.start),
  };
}

/** A record of a message's own field that is no bytes: decoders skip it, and what edits records would take it for a message. */
export const oddRecord = (
  records: readonly FieldRecord[],
  fields: Readonly<Record<string, number>>,
): FieldRecord | undefined =>
  records.find(
    ({ field, wireType }) => wireType !== wireTypes.bytes && Object.values(fields).includes(field),
  );

/** Where the tag that begins at `start` ends. */
export function tagEnd(bytes: Uint8Array, start: number): number {
  let offset = start;
  while ((bytes[offset] ?? 0) >= 0x80) offset++;
  return offset + 1;
}

/** What takes the place of records: bytes, or pieces of them; null for nothing. */
type Replacements = ReadonlyMap<FieldRecord, Uint8Array | readonly Chunk[] | null>;

/** Changes to a model's file. Every new record is complete: tag, length and payload (see `bytesField`). */
interface Edits {
  /** Replacements of records of the model or of its graph. */
  readonly replace?: Replacements;
  /** Records to append to the graph, or their pieces in order. */
  readonly appendToGraph?: readonly Chunk[];
  /** Records to append to the model. */
  readonly appendToModel?: readonly Uint8Array[];
  /** Minimum number of bytes that encode the graph's length. Default: as many as in the current file. */
  readonly graphLengthWidth?: number;
}

/**
 * Changes records of a model's file and keeps all other bytes.
 * @returns the new file in pieces: views of the old bytes, or parts of the file that has them, with new bytes between them
 *
 * @example
 * const layout = layoutOf(model.bytes);
 * const chunks = splice(layout, { appendToGraph: [bytesField(graphFields.node, encodeNodeProto(node))] });
 */
export function splice(layout: ModelLayout, edits: Edits): Chunk[] {
  const { graphField } = layout;
  const replace = edits.replace ?? new Map<FieldRecord, null>();
  if (replace.has(graphField)) throw new RangeError("the graph's own record is changed through its parts");
  const graph = new Pieces(layout);
  graph.copy(layout.graph, replace);
  graph.add(edits.appendToGraph ?? []);

  const file = new Pieces(layout);
  const at = layout.model.indexOf(graphField);
  file.copy(layout.model.slice(0, at), replace);
  const start = file.placeOf(graphField).start;
  file.view(start, start + tagEnd(layout.bytes, graphField.start) - graphField.start);
  file.add([varint(graph.length, edits.graphLengthWidth ?? layout.graphLengthWidth)]);
  file.append(graph);
  file.copy(layout.model.slice(at + 1), replace);
  file.add(edits.appendToModel ?? []);
  return file.chunks();
}

/** Pieces of a new file; adjacent views of the old one are merged. */
class Pieces {
  readonly #source: ModelLayout;
  #pieces: (Chunk | { start: number; end: number })[] = [];
  length = 0;

  constructor(source: ModelLayout) {
    this.#source = source;
  }

  /** A record as offsets into the old file. */
  placeOf(record: FieldRecord): FieldRecord {
    return this.#source.origin?.of(record) ?? record;
  }

  view(start: number, end: number): void {
    this.length += end - start;
    const last = this.#pieces.at(-1);
    if (last && !isChunk(last) && last.end === start) last.end = end;
    else this.#pieces.push({ start, end });
  }

  add(pieces: readonly Chunk[]): void {
    for (const piece of pieces) {
      this.length += chunkSize(piece);
      this.#pieces.push(piece);
    }
  }

  copy(records: readonly FieldRecord[], replace: Replacements): void {
    for (const record of records) {
      const replacement = replace.get(record);
      if (replacement === undefined) {
        const { start, end } = this.placeOf(record);
        this.view(start, end);
      } else if (replacement) this.add(replacement instanceof Uint8Array ? [replacement] : replacement);
    }
  }

  append(other: Pieces): void {
    for (const piece of other.#pieces) {
      if (isChunk(piece)) this.add([piece]);
      else this.view(piece.start, piece.end);
    }
  }

  chunks(): Chunk[] {
    const { bytes, origin } = this.#source;
    return this.#pieces.map((piece) => {
      if (isChunk(piece)) return piece;
      return origin ? { file: origin.file, ...piece } : bytes.subarray(piece.start, piece.end);
    });
  }
}

/** Whether a piece is new, and not a part of the old file. */
const isChunk = (piece: Chunk | { start: number; end: number }): piece is Chunk =>
  piece instanceof Uint8Array || "file" in piece;
