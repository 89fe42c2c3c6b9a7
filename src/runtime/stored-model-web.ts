import { FileError } from "../errors.ts";
import { checkedLocation } from "../onnx/external.ts";
import { fileOf } from "../onnx/external-web.ts";
import { readModel, type WebFile } from "../onnx/files-web.ts";
import type { Model } from "../onnx/model.ts";
import { blobParts, type Chunk, chunkSize, piecesOf } from "../onnx/stored.ts";
import { storedFile, writeStored } from "./browser-storage.ts";
import { sessionForm } from "./ort-probe.ts";

const name = "model.onnx";

/** The place of an external data file: a folder of its own, because it may have the name of another file of the run. */
const placeOf = (folder: string, location: string): readonly [folder: string, name: string] => {
  const parts = checkedLocation(location).split("/");
  return [[folder, "data", ...parts.slice(0, -1)].join("/"), parts.at(-1) as string];
};

/** The places of stored files that models read. */
const places = new WeakMap<object, string>();

/** Whether a file is the one that lies at its place: written over itself, it could not be read any more. */
async function liesThere(
  file: Uint8Array | Blob,
  [folder, base]: readonly [string, string],
): Promise<boolean> {
  if (!(file instanceof File) || places.get(file) !== `${folder}/${base}`) return false;
  const there = await storedFile(folder, base).catch(() => undefined);
  return there?.size === file.size && there.lastModified === file.lastModified;
}

/** Writes a model into a folder of the page's own storage, and its external data beside it; a file is copied by the browser, unread. */
export async function writeStoredModel(folder: string, given: Model): Promise<void> {
  // Where its files are not known, the model holds them.
  const { model } = await sessionForm(given, (known) => ({ model: known, entries: {} }));
  for (const location of model.externalLocations) {
    const [file, place] = [fileOf(model.files, location), placeOf(folder, location)];
    if (!(await liesThere(file, place))) await writeStored(...place, [file]);
  }
  const place = [folder, name] as const;
  const [first, ...others] = model.pieces;
  for (const file of new Set(filesOf(model.pieces))) {
    if (!(await liesThere(file, place))) continue;
    // The model as it lies there, or one that is made of it.
    if (others.length === 0 && first && chunkSize(first) === file.size) return;
    throw new FileError(
      `the weights of this model lie in "${folder}/${name}" of the browser's storage, which the run would replace: give its checkpoint another folder`,
    );
  }
  await writeStored(...place, blobParts(model.pieces));
}

/** The files of which pieces are parts. */
const filesOf = (chunks: readonly Chunk[]): Blob[] =>
  chunks.flatMap((chunk) => {
    if (chunk instanceof Uint8Array) return [];
    const { file, start, end } = chunk;
    return file.blob ?? filesOf(piecesOf.get(file)?.(start, end) ?? []);
  });

/** Reads what {@link writeStoredModel} wrote. */
export async function readStoredModel(folder: string): Promise<Model> {
  const file = await fileAt(folder, name);
  const model = await readModel(file);
  const external = new Map<string, WebFile>();
  for (const location of model.externalLocations)
    external.set(location, await fileAt(...placeOf(folder, location)));
  return external.size === 0 ? model : readModel(file, external);
}

/** A stored file, whose place is known from now on. */
async function fileAt(folder: string, base: string): Promise<File> {
  const file = await storedFile(folder, base);
  places.set(file, `${folder}/${base}`);
  return file;
}
