import { FileError, messageOf } from "../errors.ts";
import { checkedLocation, checkedRange } from "./external.ts";
import type { ModelSource } from "./model.ts";
import type { Chunk, StoredFile } from "./stored.ts";
import type { ExternalReference } from "./tensor.ts";

/** The content of a file in a browser. A `File` is a `Blob`. */
export type WebFile = Blob | ArrayBuffer | Uint8Array;

/**
 * The external data files of a model in a browser. In a worker, a Blob stays where it is, and parts of it are read when they are
 * needed. A page itself can read no file synchronously: it takes the content of each into memory, once.
 */
export async function externalSource(external: ReadonlyMap<string, WebFile>): Promise<ModelSource> {
  const files = new Map<string, Uint8Array | Blob>();
  for (const [name, file] of external) files.set(checkedLocation(name), await held(file));
  const read = (range: ExternalReference): Uint8Array => {
    const file = fileOf(files, range.location);
    const { offset, length } = checkedRange(range, sizeOf(file));
    return partOf(file, offset, offset + length, range.location);
  };
  const stored = (range: ExternalReference): Chunk => {
    const file = fileOf(files, range.location);
    if (file instanceof Uint8Array) return read(range);
    const { offset, length } = checkedRange(range, file.size);
    return { file: blobFile(file, range.location), start: offset, end: offset + length };
  };
  return { files, external: Object.assign(read, { stored }) };
}

const known = new WeakMap<Blob, StoredFile>();

/** A file in a worker, whose parts are read when they are needed. */
export function blobFile(blob: Blob, path: string): StoredFile {
  const file: StoredFile = known.get(blob) ?? {
    ...{ path, size: blob.size, blob, isAtPath: () => false },
    read: (start, end) => partOf(blob, start, end, path),
  };
  known.set(blob, file);
  return file;
}

async function held(file: WebFile): Promise<Uint8Array | Blob> {
  if (file instanceof Uint8Array) return file;
  if (file instanceof ArrayBuffer) return new Uint8Array(file);
  return "FileReaderSync" in globalThis ? file : new Uint8Array(await file.arrayBuffer());
}

const sizeOf = (file: Uint8Array | Blob): number => (file instanceof Uint8Array ? file.length : file.size);

/** A part of a file; of a Blob, a worker reads it now. */
export const partOf = (file: Uint8Array | Blob, start: number, end: number, location: string): Uint8Array =>
  file instanceof Uint8Array ? file.subarray(start, end) : readNow(file.slice(start, end), location);

/** The file of a location. @throws SorthError when it was not given */
export function fileOf(
  files: ReadonlyMap<string, Uint8Array | Blob> | undefined,
  location: string,
): Uint8Array | Blob {
  const name = checkedLocation(location);
  const file = files?.get(name);
  if (file) return file;
  throw new FileError(`the external data file "${name}" is missing; choose it together with the model`);
}

/** Members of a worker's global object that TypeScript's library of pages does not declare. */
declare const FileReaderSync: new () => { readAsArrayBuffer(part: Blob): ArrayBuffer };

/** The bytes of a part of a file, in a worker. @throws FileError when the file was changed or removed after it was chosen */
function readNow(part: Blob, location: string): Uint8Array {
  try {
    return new Uint8Array(new FileReaderSync().readAsArrayBuffer(part));
  } catch (error) {
    throw new FileError(
      `cannot read the file "${location}" (${messageOf(error)}): it was changed or removed after it was chosen; choose it again`,
    );
  }
}
