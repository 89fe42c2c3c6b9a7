import type { onnx } from "./schema.js";
import { equalBytes } from "./wire.ts";

/** A file that stays where it is; its bytes are read when they are needed. */
export interface StoredFile {
  readonly path: string;
  /** Size in bytes. */
  readonly size: number;
  /** The bytes from `start` to `end`. @throws SorthError when the file has changed since it was opened */
  read(start: number, end: number): Uint8Array;
  /**
   * Whether the path still leads to these bytes, so that the file may be copied by name.
   * @throws SorthError when the file has changed since it was opened
   */
  isAtPath(): boolean;
  /** {@link read} for what lies between numbers: those that would have to be computed are 0. */
  peek?(start: number, end: number): Uint8Array;
  /** Whether the bytes are computed by each reading, so that one reading of a whole is better than several of parts. */
  readonly isComputed?: boolean;
  /** The file in a browser. */
  readonly blob?: Blob | undefined;
}

/** A part of a file: the bytes from `start` to `end`. */
export interface StoredBytes {
  readonly file: StoredFile;
  readonly start: number;
  readonly end: number;
}

/** A piece of a model's file: bytes in memory, or a part of another file. */
export type Chunk = Uint8Array | StoredBytes;

/** Number of bytes of a piece. */
export const chunkSize = (chunk: Chunk): number =>
  chunk instanceof Uint8Array ? chunk.length : chunk.end - chunk.start;

/** The bytes of a piece; those of a file are read. */
export const chunkBytes = (chunk: Chunk): Uint8Array =>
  chunk instanceof Uint8Array ? chunk : chunk.file.read(chunk.start, chunk.end);

/** Pieces as parts of a Blob: what lies in a browser's files stays there. */
export const blobParts = (chunks: readonly Chunk[]) =>
  chunks.map(
    (chunk) =>
      ("file" in chunk && chunk.file.blob?.slice(chunk.start, chunk.end)) ||
      (chunkBytes(chunk) as Uint8Array<ArrayBuffer>),
  );

/** The pieces in one array, each read where it belongs. */
export function joinChunks(chunks: readonly Chunk[]): Uint8Array {
  const joined = new Uint8Array(chunks.reduce((size, chunk) => size + chunkSize(chunk), 0));
  let offset = 0;
  for (const chunk of chunks) {
    for (const piece of inParts(chunk)) {
      joined.set(piece, offset);
      offset += piece.length;
    }
  }
  return joined;
}

/** How files that are made of pieces are cut (joinedFile). */
export const piecesOf = new WeakMap<StoredFile, (from: number, to: number) => Chunk[]>();

/** Where bytes lie: in a file of pieces, within the one piece that holds them all. */
function original(bytes: StoredBytes): Chunk {
  const [piece, ...others] = piecesOf.get(bytes.file)?.(bytes.start, bytes.end) ?? [];
  if (!piece || others.length > 0) return bytes;
  return piece instanceof Uint8Array ? piece : original(piece);
}

/** Most bytes of a file in memory at one time, while a part of it is copied. */
const partSize = 4 * 1024 * 1024;

/** The bytes of a piece in parts; those of a file are read part by part. */
export function* inParts(chunk: Chunk): Generator<Uint8Array> {
  if (chunk instanceof Uint8Array) {
    yield chunk;
    return;
  }
  const { file, start, end } = chunk;
  const cut = piecesOf.get(file);
  if (cut) {
    for (const piece of cut(start, end)) yield* inParts(piece);
    return;
  }
  if (file.isComputed) {
    yield file.read(start, end);
    return;
  }
  for (let from = start; from < end; from += partSize) yield file.read(from, Math.min(end, from + partSize));
}

/** Whether two lists of pieces hold the same bytes. Of files, a part at a time is in memory. */
export function sameContents(a: readonly Chunk[], b: readonly Chunk[]): boolean {
  const sizeOf = (chunks: readonly Chunk[]) => chunks.reduce((size, chunk) => size + chunkSize(chunk), 0);
  if (sizeOf(a) !== sizeOf(b)) return false;
  const others = partsOf(b);
  let other: Uint8Array = new Uint8Array();
  for (let part of partsOf(a)) {
    while (part.length > 0) {
      if (other.length === 0) other = others.next().value ?? new Uint8Array();
      const length = Math.min(part.length, other.length);
      if (!equalBytes(part.subarray(0, length), other.subarray(0, length))) return false;
      [part, other] = [part.subarray(length), other.subarray(length)];
    }
  }
  return true;
}

/** The bytes of some pieces in parts that are not empty. */
function* partsOf(chunks: readonly Chunk[]): Generator<Uint8Array, undefined> {
  for (const chunk of chunks) for (const part of inParts(chunk)) if (part.length > 0) yield part;
}

const stored = new WeakMap<onnx.TensorProto.$Properties, StoredBytes>();

/** Makes a part of a file the raw data of a message: reading `rawData` reads the file, unless the part is in memory. */
export function keepStored(proto: onnx.TensorProto.$Properties, given: StoredBytes): void {
  const bytes = original(given);
  if (bytes instanceof Uint8Array) {
    proto.rawData = bytes;
    return;
  }
  stored.set(proto, bytes);
  Object.defineProperty(proto, "rawData", {
    get: () => chunkBytes(bytes),
    set: (value: Uint8Array) => {
      stored.delete(proto);
      Object.defineProperty(proto, "rawData", { value, writable: true });
    },
    ...{ enumerable: true, configurable: true },
  });
}

/** Where the raw data of a message lies; undefined if it is in memory. */
export const storedBytes = (proto: onnx.TensorProto.$Properties): StoredBytes | undefined =>
  stored.get(proto);
