import { blobParts, type Chunk, chunkSize, joinChunks, piecesOf, type StoredFile } from "./stored.ts";

/**
 * Numbers that are computed when they are read, as a file. They are computed again for the next reader once no reader holds them.
 * @param size - in bytes
 */
export function computedFile(size: number, compute: () => Uint8Array): StoredFile {
  let last: WeakRef<Uint8Array> | undefined;
  return {
    ...{ path: "", size, isComputed: true, isAtPath: () => false },
    read(start, end) {
      const bytes = last?.deref() ?? compute();
      last = new WeakRef(bytes);
      return bytes.subarray(start, end);
    },
    peek: (start, end) => new Uint8Array(end - start),
  };
}

/** Pieces of a file that is not written yet, as a file. keepStored finds the file in which a part of it really lies. */
export function joinedFile(chunks: readonly Chunk[]): StoredFile {
  let size = 0;
  const placed = chunks.map((chunk) => {
    const start = size;
    size += chunkSize(chunk);
    return { chunk, start, end: size };
  });
  /** The pieces of the bytes from `from` to `to`. */
  const cut = (from: number, to: number): Chunk[] =>
    placed.flatMap(({ chunk, start, end }): Chunk[] => {
      const [first, last] = [Math.max(from, start) - start, Math.min(to, end) - start];
      if (first >= last) return [];
      if (chunk instanceof Uint8Array) return [chunk.subarray(first, last)];
      return [{ file: chunk.file, start: chunk.start + first, end: chunk.start + last }];
    });
  const file: StoredFile = {
    ...{ path: "", size, isAtPath: () => false },
    read: (start, end) => joinChunks(cut(start, end)),
    peek: (start, end) => joinChunks(cut(start, end).map(peekedBytes)),
    get blob() {
      return new Blob(blobParts(chunks));
    },
  };
  piecesOf.set(file, cut);
  return file;
}

const peekedBytes = (chunk: Chunk): Chunk =>
  chunk instanceof Uint8Array ? chunk : (chunk.file.peek?.(chunk.start, chunk.end) ?? chunk);
