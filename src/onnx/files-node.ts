import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { checkText } from "../check-arguments.ts";
import { FileError, messageOf, SorthError, UsageError } from "../errors.ts";
import { checkOptions } from "../known-options.ts";
import { checkModel } from "./check-model.ts";
import { checkedLocation } from "./external.ts";
import { carryExternalData, externalReader, notOrdinary, realPlace } from "./external-node.ts";
import { Model, type ModelSource } from "./model.ts";
import { skim, skimPieces } from "./skim.ts";
import { type Chunk, chunkSize } from "./stored.ts";
import { openStored } from "./stored-file-node.ts";
import { reasonOf, type WriteOptions, writeFileSafely } from "./write-file.ts";

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
  checkText("the path of a model", path);
  const source = { path, external: externalReader(dirname(path)) };
  try {
    const skimmed = await skimmedModel(path, from, source);
    if (skimmed) return skimmed;
  } catch (error) {
    throw new FileError(`cannot read "${path}": ${messageOf(error)}`);
  }
  const bytes = await readWhole(path);
  // Edited, it may become large: adapters merged into external data.
  const skimLarge = (pieces: readonly Chunk[]) =>
    pieces.reduce((size, piece) => size + chunkSize(piece), 0) < from ? undefined : skimPieces(pieces);
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
    const read = Model.fromSkimmed(file, skimmed, source, skimPieces);
    void read.proto;
    model = read;
    return model;
  } finally {
    if (!model) file.close();
  }
}

/**
 * Writes a model as an ONNX file, under a temporary name that is renamed at the end. If the file goes to another folder
 * than the one the model was read from, its external data files are copied there; otherwise both models share them. A model
 * whose external weights have new numbers gets a data file of its own, `<path>.data`, with all of its external weights. If `path`
 * has such a file already, the new one is called `<path>.2.data`: a model that is replaced and its data stay whole until the new
 * model is in place, and then its data go, unless another model in the folder names them.
 * @throws UsageError when the file exists and `force` is not set; SorthError when the target folder has an external data
 * file of the same name with other content, or when the model is larger than protobuf allows (2 GB)
 */
export async function writeModel(model: Model, path: string, options: WriteOptions = {}): Promise<void> {
  checkModel(model);
  checkText("the path of a model", path);
  checkOptions("writeModel", options);
  await writeWithData(model, path, options);
}

/**
 * {@link writeModel}.
 * @returns the file of the model's own data, if it has one
 */
export async function writeWithData(
  given: Model,
  path: string,
  options: WriteOptions = {},
): Promise<string | undefined> {
  const own =
    given.apart.size > 0
      ? await (await import("./own-data-node.ts")).ownData(given, path, options)
      : undefined;
  const model = own?.model ?? given;
  if (model.size > largestModel) {
    throw new FileError(
      `cannot write "${path}": the model has ${model.size} bytes and protobuf allows 2 GB; keep its weights as external data`,
    );
  }
  if (!options.force && (await stat(path).catch(() => undefined))) {
    throw new UsageError(
      `"${path}" already exists; give another name, or --force (force: true) to replace it`,
    );
  }
  await checkIsNoData(path, given);
  // At each moment, the file at `path` is whole, and names data that are whole: the former pair or the new one.
  await own?.write();
  try {
    await carryExternalData(model, path);
    await writeFileSafely(path, model.pieces, options);
  } catch (error) {
    await own?.takeBack();
    throw error;
  }
  await own?.removeReplaced();
  return own?.path;
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
