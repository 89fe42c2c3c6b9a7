import { closeSync, fstatSync, openSync, readSync, type Stats, statSync } from "node:fs";
import { FileError } from "../errors.ts";
import type { StoredFile } from "./stored.ts";
import { reasonOf } from "./write-file.ts";

/** Bytes per read call. */
const pieceSize = 1024 * 1024;

/** Closes files whose models are no longer used. */
const forgotten = new FinalizationRegistry<number>((descriptor) => closeSync(descriptor));

/** A file that is open for reading. */
export interface OpenFile extends StoredFile {
  /** Closes the file at once; nothing may read it afterwards. */
  close(): void;
}

/**
 * Opens a file whose bytes are read in parts. It stays open, so that the same bytes are read after another file took its
 * name, until it is closed or nothing refers to the result any more.
 * @throws SorthError when it cannot be opened
 */
export function openStored(path: string): OpenFile {
  const descriptor = attempt(path, () => {
    // Opening a pipe would wait for its writer.
    if (!statSync(path).isFile()) throw new FileError(`cannot read "${path}": it is no ordinary file`);
    return openSync(path, "r");
  });
  const opened = fstatSync(descriptor);
  const token = {};
  const check = () => {
    if (!isSame(fstatSync(descriptor), opened)) {
      throw new FileError(`"${path}" was changed after it was opened; read the model again`);
    }
  };
  const file: OpenFile = {
    ...{ path, size: opened.size },
    read: (start, end) =>
      attempt(path, () => {
        check();
        return readBytes(descriptor, path, start, end);
      }),
    isAtPath() {
      check();
      const there = statSync(path, { throwIfNoEntry: false });
      return there !== undefined && isSame(there, opened);
    },
    close() {
      if (forgotten.unregister(token)) closeSync(descriptor);
    },
  };
  forgotten.register(file, descriptor, token);
  return file;
}

const isSame = (a: Stats, b: Stats): boolean =>
  a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs;

function readBytes(descriptor: number, path: string, start: number, end: number): Uint8Array {
  const bytes = new Uint8Array(end - start);
  for (let done = 0; done < bytes.length; ) {
    const read = readSync(descriptor, bytes, done, Math.min(pieceSize, bytes.length - done), start + done);
    if (read === 0) throw new FileError(`"${path}" became shorter while it was read`);
    done += read;
  }
  return bytes;
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw new FileError(`cannot read "${path}": ${reasonOf(error)}`);
  }
}
