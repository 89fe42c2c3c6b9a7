import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve } from "node:path";
import { FileError, messageOf, SorthError, UsageError } from "../errors.ts";
import { checkedLocation, checkedRange } from "./external.ts";
import { Model, type ModelSource } from "./model.ts";
import { skim } from "./skim.ts";
import type { StoredFile } from "./stored.ts";
import { openStored } from "./stored-file-node.ts";
import type { ExternalReader, ExternalReference } from "./tensor.ts";
import { equalBytes } from "./wire.ts";
import { makeFolder, reasonOf, type WriteOptions, writeFileSafely } from "./write-file.ts";

export { type WriteOptions, writeFileSafely } from "./write-file.ts";

/** Protobuf's size limit for one message in bytes; readers of ONNX files (including ONNX Runtime) enforce it. */
const largestModel = 2 ** 31 - 1;
/** Size of a file in bytes from which the numbers of its weights are read when they are needed. */
const largeFile = 64 * 1024 * 1024;
/** Bytes per read call. */
const pieceSize = 1024 * 1024;

/**
 * Reads an ONNX file. Tensors in external data files are read on first use.
 * @throws SorthError when the file cannot be read or is not an ONNX model
 *
 * @example
 * const model = await readModel("model.onnx");
 */
export async function readModel(path: string): Promise<Model> {
  return readModelInParts(path, largeFile);
}

/**
 * {@link readModel} with another size in bytes from which the numbers of weights stay in the file.
 * @throws SorthError as readModel does
 */
export async function readModelInParts(path: string, from: number): Promise<Model> {
  const source = { path, external: externalReader(dirname(path)) };
  try {
    const skimmed = await skimmedModel(path, from, source);
    if (skimmed) return skimmed;
  } catch (error) {
    throw new FileError(`cannot read "${path}": ${messageOf(error)}`);
  }
  const bytes = await readWhole(path);
  // Edited, it may become large: adapters merged into external data.
  const skimLarge = (file: StoredFile) => (file.size < from ? undefined : skim(file));
  try {
    const model = Model.fromBytesSkimming(bytes, source, skimLarge);
    void model.proto;
    return model;
  } catch (error) {
    throw new FileError(`cannot read "${path}": ${messageOf(error)}`);
  }
}

/** A large model whose weights stay in its file; undefined for a small one, and for one that has to be read as a whole. */
async function skimmedModel(path: string, from: number, source: ModelSource): Promise<Model | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || found.size < from || found.size > largestModel) return undefined;
  const file = openStored(path);
  let model: Model | undefined;
  try {
    const skimmed = skim(file);
    if (!skimmed) return undefined;
    const read = Model.fromSkimmed(file, skimmed, source, skim);
    void read.proto;
    model = read;
    return model;
  } finally {
    if (!model) file.close();
  }
}

/**
 * Writes a model as an ONNX file, under a temporary name that is renamed at the end. If the file goes to another folder
 * than the one the model was read from, its external data files are copied there; otherwise both models share them.
 * @throws UsageError when the file exists and `force` is not set; SorthError when the target folder has an external data
 * file of the same name with other content, or when the model is larger than protobuf allows (2 GB)
 */
export async function writeModel(model: Model, path: string, options: WriteOptions = {}): Promise<void> {
  if (model.size > largestModel) {
    throw new FileError(
      `cannot write "${path}": the model has ${model.size} bytes and protobuf allows 2 GB; keep its weights as external data`,
    );
  }
  if (!options.force && (await stat(path).catch(() => undefined))) {
    throw new UsageError(`"${path}" already exists; give another name, or --force to replace it`);
  }
  await checkIsNoData(path, model);
  await carryExternalData(model, path);
  await writeFileSafely(path, model.pieces, options);
}

/** @throws UsageError when `path` is one of the model's external data files, which writing would destroy */
export async function checkIsNoData(path: string, model: Model): Promise<void> {
  const to = dirname(resolve(path));
  const folders = [to, ...(model.path === undefined ? [] : [dirname(resolve(model.path))])];
  const target = await realPlace(resolve(path));
  for (const location of [...model.externalLocations].map(checkedLocation)) {
    const places = await Promise.all(folders.map((folder) => realPlace(join(folder, location))));
    if (!places.includes(target)) continue;
    throw new UsageError(
      `cannot write "${path}": the model keeps its data in that file ("${location}"); give another name`,
    );
  }
}

/** The real path behind symbolic links; also for a file that does not exist yet. */
async function realPlace(path: string): Promise<string> {
  return realpath(path).catch(async () =>
    join(await realpath(dirname(path)).catch(() => dirname(path)), basename(path)),
  );
}

/** The bytes of a file. @throws SorthError when it is missing, a folder, unreadable or larger than protobuf allows */
async function readWhole(path: string): Promise<Uint8Array> {
  let handle: FileHandle | undefined;
  try {
    const found = await stat(path);
    // Opening a pipe would wait for its writer.
    if (!found.isFile() && !found.isDirectory()) throw notOrdinary(path);
    handle = await open(path, "r");
    const { size } = await handle.stat();
    if (size > largestModel) {
      throw new FileError(
        `cannot read "${path}": it has ${size} bytes and protobuf allows 2 GB; save it with external data`,
      );
    }
    const bytes = new Uint8Array(size);
    for (let offset = 0; offset < size; ) {
      const { bytesRead } = await handle.read(bytes, offset, Math.min(pieceSize, size - offset), offset);
      if (bytesRead === 0) throw new FileError(`"${path}" became shorter while it was read`);
      offset += bytesRead;
    }
    return bytes;
  } catch (error) {
    if (error instanceof SorthError) throw error;
    throw new FileError(`cannot read "${path}": ${reasonOf(error)}`);
  } finally {
    await handle?.close();
  }
}

const notOrdinary = (path: string): FileError =>
  new FileError(`cannot read "${path}": it is a pipe, a device or a socket; give an ordinary file`);

/** A reader of external data that refuses files outside `folder`. */
export function externalReader(folder: string): ExternalReader {
  return (range) => readRange(folder, range);
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
    if (error instanceof SorthError) throw error;
    throw new FileError(
      `cannot read the external data file "${file}": ${reasonOf(error)}; put it beside the model, where it was exported`,
    );
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

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
async function carryExternalData(model: Model, path: string): Promise<void> {
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
    await makeFolder(dirname(target));
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
  if ((await stat(a)).size !== (await stat(b)).size) return false;
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
