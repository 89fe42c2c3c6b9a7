import { storedFile, storedFolder, writeStored } from "../../src/runtime/browser-storage.ts";
import { SorthError } from "../../src/web.ts";
import type { HistoryJson } from "../history.ts";
import type { ChosenFile, DataSource, ModelSource, SavedRun, Settings } from "../protocol.ts";
import { messageOf } from "./message-of.ts";

/** Folder of the page's own storage in which the last run is kept. */
export const runFolder = "sorth-onnx/run";
const indexName = "run.json";

/** What is kept of a run, besides the checkpoints of its two trainers. */
export interface KeptRun {
  readonly saved: SavedRun;
  readonly model: ModelSource;
  /** Of the user's own data, which are not kept, only what tells whether the same are chosen again. */
  readonly data: { readonly mnist: Extract<DataSource, { kind: "mnist" }> } | { readonly own: string };
  readonly settings: Settings;
  readonly history: HistoryJson;
}

/** As it is written: the model's files lie beside it. */
interface Index extends Omit<KeptRun, "model"> {
  readonly version: 1;
  readonly model: { readonly sample: "mlp" | "cnn" | "pointnet" } | { readonly files: readonly string[] };
}

/** Writes the files of a run that stay as they are. @throws SorthError when the browser does not keep them */
export async function keepModel(source: ModelSource): Promise<void> {
  await forget();
  try {
    await storedFolder(runFolder, true);
    if (source.kind === "sample") return;
    for (const [index, { content }] of source.files.entries())
      await writeStored(runFolder, `file-${index}`, [content]);
  } catch (error) {
    throw new SorthError(`the browser does not keep this run: ${messageOf(error)}`);
  }
}

/** Writes how far a run is. Its checkpoints are to be written before. */
export async function keepIndex({ model, ...run }: KeptRun): Promise<void> {
  const index: Index = {
    ...run,
    version: 1,
    model: model.kind === "sample" ? { sample: model.name } : { files: model.files.map(({ path }) => path) },
  };
  await writeStored(runFolder, indexName, [JSON.stringify(index)]);
}

/** The run that is kept; undefined where there is none, or it cannot be read. */
export async function keptRun(): Promise<KeptRun | undefined> {
  try {
    const text = await (await storedFile(runFolder, indexName)).text();
    const { version, model, ...run } = JSON.parse(text) as Index;
    if (version !== 1) return undefined;
    if ("sample" in model) return { ...run, model: { kind: "sample", name: model.sample } };
    const files: ChosenFile[] = [];
    for (const [index, path] of model.files.entries())
      files.push({ path, content: await storedFile(runFolder, `file-${index}`) });
    return { ...run, model: { kind: "files", files } };
  } catch {
    return undefined;
  }
}

/** Removes the run that is kept. */
export async function forget(): Promise<void> {
  try {
    const parent = await storedFolder("sorth-onnx", false);
    await parent.removeEntry("run", { recursive: true });
  } catch {
    // There is none.
  }
}

/** Why the browser keeps no run; undefined where it does. */
export function keepsNothing(): string | undefined {
  const { storage, locks } = navigator as Partial<Pick<Navigator, "storage" | "locks">>;
  if (!globalThis.isSecureContext) return "browsers let pages of https and localhost only keep files";
  return storage && "getDirectory" in storage && locks ? undefined : "this browser has no storage for it";
}

const lockName = "sorth-onnx run";

/**
 * Takes the place of the one run that is kept, until this worker ends.
 * @returns false when another tab has it
 */
export function takePlace(): Promise<boolean> {
  return new Promise((resolve) => {
    void navigator.locks.request(lockName, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      // Held as long as this promise is open.
      return lock ? new Promise<void>(() => {}) : undefined;
    });
  });
}

/** Whether another tab trains the run that is kept. */
export async function placeIsTaken(): Promise<boolean> {
  if (keepsNothing()) return false;
  const { held = [] } = await navigator.locks.query();
  return held.some(({ name }) => name === lockName);
}
