import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { open, realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve } from "node:path";
import { FileError, SorthError } from "../errors.ts";
import { checkedLocation, checkedRange } from "./external.ts";
import type { Model } from "./model.ts";
import type { StoredBytes } from "./stored.ts";
import { type OpenFile, openStored } from "./stored-file-node.ts";
import type { ExternalReader, ExternalReference } from "./tensor.ts";
import { equalBytes } from "./wire.ts";
import { makeFolder, reasonOf, writeFileSafely } from "./write-file.ts";

/** Bytes per read call. */
const pieceSize = 1024 * 1024;

export const notOrdinary = (path: string): FileError =>
  new FileError(`cannot read "${path}": it is a pipe, a device or a socket; give an ordinary file`);

/** A reader of external data that refuses files outside `folder`. */
export function externalReader(folder: string): ExternalReader {
  const open = new Map<string, OpenFile>();
  const stored = (range: ExternalReference): StoredBytes => {
    const file = open.get(range.location) ?? openExternal(folder, range.location);
    open.set(range.location, file);
    const { offset, length } = checkedRange(range, file.size);
    return { file, start: offset, end: offset + length };
  };
  return Object.assign((range: ExternalReference) => readRange(folder, range), { stored });
}

/**
 * Opens an external data file, whose parts are read when they are needed.
 * @throws SorthError when it is missing, or lies outside the folder
 */
export function openExternal(folder: string, location: string): OpenFile {
  const file = join(folder, checkedLocation(location));
  try {
    checkInside(realpathSync(folder), realpathSync(file), location);
    return openStored(file);
  } catch (error) {
    throw error instanceof SorthError ? error : unreadable(file, error);
  }
}

function readRange(folder: string, range: ExternalReference): Uint8Array {
  const file = join(folder, checkedLocation(range.location));
  let descriptor: number | undefined;
  try {
    checkInside(realpathSync(folder), realpathSync(file), range.location);
    if (!statSync(file).isFile()) throw notOrdinary(file);
    descriptor = openSync(file, "r");
    const { offset, length } = checkedRange(range, fstatSync(descriptor).size);
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const read = readSync(descriptor, bytes, done, Math.min(pieceSize, length - done), offset + done);
      if (read === 0) throw new FileError(`external data file "${file}" became shorter while it was read`);
      done += read;
    }
    return bytes;
  } catch (error) {
    throw error instanceof SorthError ? error : unreadable(file, error);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

const unreadable = (file: string, error: unknown): FileError =>
  new FileError(
    `cannot read the external data file "${file}": ${reasonOf(error)}; put it beside the model, where it was exported`,
  );

/** @throws SorthError when a symbolic link leads out of the model's folder */
function checkInside(folder: string, file: string, location: string): void {
  const path = relative(folder, file);
  if (isAbsolute(path) || path.split(/[\\/]/)[0] === "..") {
    throw new FileError(
      `the external data file "${location}" is a link to a file outside the model's folder; refused for safety: put the file itself there`,
    );
  }
}

/** Copies a model's external data files to the folder of `path`, unless they are already there. */
export async function carryExternalData(
  model: Pick<Model, "path" | "externalLocations">,
  path: string,
): Promise<void> {
  if (model.externalLocations.size === 0) return;
  if (model.path === undefined) {
    throw new FileError(
      `cannot write "${path}": the model has external data files, but was not read from a path; read it with readModel(path)`,
    );
  }
  const [from, to] = [await folderOf(model.path), await folderOf(path)];
  if (from === to) return;
  for (const location of [...model.externalLocations].map(checkedLocation)) {
    const source = join(from, location);
    checkInside(from, await realpath(source).catch(() => missing(source)), location);
    const target = join(to, location);
    makeFolder(dirname(target));
    checkInside(to, await realpath(dirname(target)), location);
    if (!(await stat(target).catch(() => undefined))) await copySafely(source, target);
    else if (!(await sameContent(source, target))) {
      throw new FileError(
        `cannot write "${path}": its data file "${target}" exists with other content; write the model to another folder`,
      );
    }
  }
}

/** Copies a file under a temporary name that is renamed at the end. */
async function copySafely(source: string, target: string): Promise<void> {
  const file = openStored(source);
  try {
    await writeFileSafely(target, [{ file, start: 0, end: file.size }]);
  } finally {
    file.close();
  }
}

function missing(file: string): never {
  throw new FileError(
    `the external data file "${file}" is missing; put it beside the model, where it was exported`,
  );
}

async function folderOf(path: string): Promise<string> {
  const folder = dirname(resolve(path));
  try {
    return await realpath(folder);
  } catch (error) {
    throw new FileError(`cannot use the folder "${folder}": ${reasonOf(error)}`);
  }
}

async function* piecesOf(file: string): AsyncGenerator<Uint8Array> {
  const handle = await open(file, "r");
  try {
    for (let offset = 0; ; ) {
      const { bytesRead, buffer } = await handle.read(new Uint8Array(pieceSize), 0, pieceSize, offset);
      if (bytesRead === 0) return;
      offset += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

async function sameContent(a: string, b: string): Promise<boolean> {
  const [first, second] = [await stat(a), await stat(b)];
  if (first.dev === second.dev && first.ino === second.ino) return true;
  if (first.size !== second.size) return false;
  const other = piecesOf(b);
  try {
    for await (const piece of piecesOf(a)) {
      const { value } = await other.next();
      if (!value || !equalBytes(piece, value)) return false;
    }
    return true;
  } finally {
    await other.return(undefined);
  }
}

/** The real path behind symbolic links; also for a file that does not exist yet. */
export async function realPlace(path: string): Promise<string> {
  return realpath(path).catch(async () =>
    join(await realpath(dirname(path)).catch(() => dirname(path)), basename(path)),
  );
}
