import { rm } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { FileError } from "../errors.ts";
import { decodeTensorProto, encodeTensorProto } from "./codec.ts";
import { dataInFolder, dataPlaces, freeDataName, removeReplacedData } from "./data-files-node.ts";
import { checkedRange, externalLocations } from "./external.ts";
import { openExternal, realPlace } from "./external-node.ts";
import { Model } from "./model.ts";
import { onnx } from "./schema.js";
import { payloadOf, splice } from "./splice.ts";
import { type Chunk, chunkSize, storedBytes } from "./stored.ts";
import type { OpenFile } from "./stored-file-node.ts";
import { externalReference, largeBytes } from "./tensor.ts";
import { bytesField, type FieldRecord, graphFields } from "./wire.ts";
import { syncFolder, type WriteOptions, writeFileSafely } from "./write-file.ts";

/** Where large tensors begin, so that a session can map them. */
const page = 4096;
/** Where other tensors begin: at a multiple that suits every type. */
const alignment = 64;

/**
 * Weights that are a smaller part than this of all external ones get a file of their own beside the file of the others, if that
 * lies in the same folder: to train the last layer of a large base copies nothing of it.
 */
const smallPart = 1 / 8;

/** A model whose external weights lie in a file of its own. */
interface OwnData {
  /** The model, which names that file. */
  readonly model: Model;
  /** The file. */
  readonly path: string;
  /** Writes the file. To be called before the model is written. */
  write(): Promise<void>;
  /** In the place of {@link write}: nothing is written. */
  close(): void;
  /** Removes the file. To be called if the model cannot be written. */
  takeBack(): Promise<void>;
  /** Removes the data of the model in whose place this one was written. To be called afterwards. */
  removeReplaced(): Promise<void>;
}

/**
 * Moves the external weights of a model into a file of its own, beside the file in which the model will be written: those with
 * new numbers, and the others, so that the written model needs no file of the model that it comes from (but see
 * {@link smallPart}). The numbers are read while they are written.
 * @throws SorthError when a data file of the model is missing
 */
export async function ownData(model: Model, path: string, options: WriteOptions): Promise<OwnData> {
  const present = await dataInFolder(path);
  const kept = await dataPlaces(model, dirname(resolve(model.path ?? path)));
  const data = await freeDataName(path, kept, present, options.force ?? false);
  const { layout } = model;
  const files = new Files(model);
  const replace = new Map<FieldRecord, Uint8Array>();
  const content: Chunk[] = [];
  let end = 0;
  const records = layout.graph.filter(({ field }) => field === graphFields.initializer);
  const tensors = model.proto.graph?.initializer ?? [];
  const shares = (await isBeside(model, path)) && newPart(tensors, model.apart) < smallPart;
  for (const [i, tensor] of tensors.entries()) {
    const record = records[i];
    if (shares && externalReference(tensor)) continue;
    const numbers = numbersOf(tensor, model, files);
    if (!record || !numbers) continue;
    const length = chunkSize(numbers);
    const unit = length >= largeBytes ? page : alignment;
    const offset = Math.ceil(end / unit) * unit;
    if (offset > end) content.push(new Uint8Array(offset - end));
    content.push(numbers);
    end = offset + length;
    const place = { location: basename(data), offset, length };
    const message = moved(decodeTensorProto(payloadOf(layout, record)), place);
    replace.set(record, bytesField(graphFields.initializer, message));
  }
  // Tensors of bodies may still name the former files.
  const written = Model.spliced(splice(layout, { replace }), model);
  const others = externalLocations(Model.fromBytes(written.bytes).proto);
  others.delete(basename(data));
  return {
    model: Model.fromBytes(written.bytes, model).withLocations(others),
    path: data,
    async write() {
      try {
        await writeFileSafely(data, content, options);
        await syncFolder(data);
      } finally {
        files.close();
      }
    },
    close: () => files.close(),
    takeBack: () => rm(data, { force: true }),
    async removeReplaced() {
      await syncFolder(path);
      await removeReplacedData(path, kept, present);
    },
  };
}

/** Whether a path lies in the folder of a model's file. */
async function isBeside(model: Model, path: string): Promise<boolean> {
  if (model.path === undefined) return false;
  return (await realPlace(dirname(resolve(model.path)))) === (await realPlace(dirname(resolve(path))));
}

/** The part of the external weights that has new numbers. */
function newPart(tensors: readonly onnx.TensorProto.$Properties[], apart: ReadonlySet<string>): number {
  let [before, now] = [0, 0];
  for (const tensor of tensors) {
    const stored = storedBytes(tensor);
    if (apart.has(tensor.name ?? "")) now += stored ? chunkSize(stored) : (tensor.rawData?.length ?? 0);
    else before += externalReference(tensor)?.length ?? 0;
  }
  return now / Math.max(before + now, 1);
}

/** The numbers of a tensor that go into the data file; undefined for one that stays in the model. */
function numbersOf(tensor: onnx.TensorProto.$Properties, model: Model, files: Files): Chunk | undefined {
  const reference = externalReference(tensor);
  if (reference) {
    const file = files.open(reference.location);
    const { offset, length } = checkedRange(reference, file.size);
    return { file, start: offset, end: offset + length };
  }
  if (!model.apart.has(tensor.name ?? "")) return undefined;
  return storedBytes(tensor) ?? (tensor.rawData?.length ? tensor.rawData : undefined);
}

/** A tensor's message that names the place of its numbers. */
function moved(
  tensor: onnx.TensorProto,
  place: Readonly<Record<"location" | "offset" | "length", string | number>>,
): Uint8Array {
  tensor.rawData = new Uint8Array();
  tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
  tensor.externalData = Object.entries(place).map(
    ([key, value]) => new onnx.StringStringEntryProto({ key, value: `${value}` }),
  );
  return encodeTensorProto(tensor);
}

/** The data files of a model, each opened once. */
class Files {
  readonly #model: Model;
  readonly #open = new Map<string, OpenFile>();

  constructor(model: Model) {
    this.#model = model;
  }

  open(location: string): OpenFile {
    const { path } = this.#model;
    if (path === undefined) {
      throw new FileError(
        `the model has external data in "${location}", but was not read from a path; read it with readModel(path)`,
      );
    }
    const file = this.#open.get(location) ?? openExternal(dirname(path), location);
    this.#open.set(location, file);
    return file;
  }

  close(): void {
    for (const file of this.#open.values()) file.close();
  }
}
