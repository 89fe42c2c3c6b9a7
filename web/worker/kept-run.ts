import { storedFile, storedFolder, writeStored } from "../../src/runtime/browser-storage.ts";
import { SorthError } from "../../src/web.ts";
import type { HistoryJson } from "../history.ts";
import type { ChosenFile, ClassImage, DataSource, ModelSource, SavedRun, Settings } from "../protocol.ts";
import { messageOf } from "./message-of.ts";

/** Folder in the page's own storage that holds the last run. */
export const runFolder = "sorth-onnx/run";
const indexName = "run.json";

/** The stored form of a run, besides the checkpoints of its two trainers. */
export interface KeptRun {
  readonly saved: SavedRun;
  readonly model: ModelSource;
  /** Data that are not stored: `own` only describes them, to check that the user chose the same again. */
  readonly data: { readonly source: Mnist | Images } | { readonly own: string };
  readonly settings: Settings;
  readonly history: HistoryJson;
}

type Mnist = Extract<DataSource, { kind: "mnist" }>;
type Images = Extract<DataSource, { kind: "images" }>;

/** The stored form: the model's files lie beside it, and so do the images, one behind the other in one file. */
interface Index extends Omit<KeptRun, "model" | "data"> {
  readonly version: 1;
  readonly data: { readonly mnist: Mnist } | { readonly own: string } | { readonly images: StoredImages };
  readonly model: { readonly sample: "mlp" | "cnn" | "pointnet" } | { readonly files: readonly string[] };
}

/** Images in the stored file, in order. */
interface StoredImages {
  readonly name: string;
  readonly images: readonly (Omit<ClassImage, "content"> & { readonly size: number })[];
}

const imagesName = "images";
/** Most bytes of images that are stored: pictures of the camera exist nowhere else. */
const mostBytes = 64 * 2 ** 20;

/** Whether data are stored with their run. */
export const keepsData = (source: DataSource): source is Mnist | Images =>
  source.kind === "mnist" ||
  (source.kind === "images" &&
    source.images.reduce((sum, { content }) => sum + content.size, 0) <= mostBytes);

/** Writes the files of a run that never change. @throws SorthError when the browser cannot store them */
export async function keepFiles(source: ModelSource, data: DataSource): Promise<void> {
  await forget();
  try {
    await storedFolder(runFolder, true);
    if (data.kind === "images" && keepsData(data)) {
      await writeStored(
        runFolder,
        imagesName,
        data.images.map(({ content }) => content),
      );
    }
    if (source.kind === "sample") return;
    for (const [index, { content }] of source.files.entries())
      await writeStored(runFolder, `file-${index}`, [content]);
  } catch (error) {
    throw new SorthError(`the browser does not keep this run: ${messageOf(error)}`);
  }
}

/** Writes a run's progress. Its checkpoints must be written first. */
export async function keepIndex({ model, data, ...run }: KeptRun): Promise<void> {
  const index: Index = {
    ...run,
    version: 1,
    data: "own" in data ? data : storedData(data.source),
    model: model.kind === "sample" ? { sample: model.name } : { files: model.files.map(({ path }) => path) },
  };
  await writeStored(runFolder, indexName, [JSON.stringify(index)]);
}

/** Reads the kept run; undefined if there is none or it cannot be read. */
export async function keptRun(): Promise<KeptRun | undefined> {
  try {
    const text = await (await storedFile(runFolder, indexName)).text();
    const { version, model, data: stored, ...rest } = JSON.parse(text) as Index;
    if (version !== 1) return undefined;
    const run = { ...rest, data: await dataOf(stored) };
    if ("sample" in model) return { ...run, model: { kind: "sample", name: model.sample } };
    const files: ChosenFile[] = [];
    for (const [index, path] of model.files.entries())
      files.push({ path, content: await copyOf(`file-${index}`) });
    return { ...run, model: { kind: "files", files } };
  } catch {
    return undefined;
  }
}

function storedData(source: Mnist | Images): Index["data"] {
  if (source.kind === "mnist") return { mnist: source };
  const images = source.images.map(({ content, ...image }) => ({ ...image, size: content.size }));
  return { images: { name: source.name, images } };
}

async function dataOf(stored: Index["data"]): Promise<KeptRun["data"]> {
  if ("own" in stored) return stored;
  if ("mnist" in stored) return { source: stored.mnist };
  const { name, images } = stored.images;
  const file = await copyOf(imagesName);
  let end = 0;
  const parts = images.map(({ size, ...image }): ClassImage => {
    if (!Number.isSafeInteger(size) || size < 0) throw new SorthError("the stored images are damaged");
    end += size;
    return { ...image, content: file.slice(end - size, end) };
  });
  return { source: { kind: "images", name, images: parts } };
}

/** A stored file, apart from the storage: the next run, and a reset, remove the file. */
const copyOf = async (name: string): Promise<Blob> =>
  new Blob([await (await storedFile(runFolder, name)).arrayBuffer()]);

/** Removes the kept run. */
export async function forget(): Promise<void> {
  try {
    const parent = await storedFolder("sorth-onnx", false);
    await parent.removeEntry("run", { recursive: true });
  } catch {
    // There is no kept run.
  }
}

/** Why the browser cannot keep a run; undefined if it can. */
export function keepsNothing(): string | undefined {
  const { storage, locks } = navigator as Partial<Pick<Navigator, "storage" | "locks">>;
  if (!globalThis.isSecureContext) return "browsers let pages of https and localhost only keep files";
  return storage && "getDirectory" in storage && locks ? undefined : "this browser has no storage for it";
}

const lockName = "sorth-onnx run";

/**
 * Claims the only place for a kept run, until this worker ends.
 * @returns false when another tab has it
 */
export function takePlace(): Promise<boolean> {
  return new Promise((resolve) => {
    void navigator.locks.request(lockName, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      // The lock is held until this promise resolves, which it never does.
      return lock ? new Promise<void>(() => {}) : undefined;
    });
  });
}

/** Whether another tab trains the kept run. */
export async function placeIsTaken(): Promise<boolean> {
  if (keepsNothing()) return false;
  const { held = [] } = await navigator.locks.query();
  return held.some(({ name }) => name === lockName);
}
