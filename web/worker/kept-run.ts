import { storedFile, storedFolder, writeStored } from "../../src/runtime/browser-storage.ts";
import { SorthError } from "../../src/web.ts";
import type { HistoryJson } from "../history.ts";
import type { ChosenFile, DataSource, ModelSource, SavedRun, Settings } from "../protocol.ts";
import { messageOf } from "./message-of.ts";

/** Folder in the page's own storage that holds the last run. */
export const runFolder = "sorth-onnx/run";
const indexName = "run.json";

/** The stored form of a run, besides the checkpoints of its two trainers. */
export interface KeptRun {
  readonly saved: SavedRun;
  readonly model: ModelSource;
  /** The user's own data are not stored: `own` only describes them, to check that the user chose the same again. */
  readonly data: { readonly mnist: Extract<DataSource, { kind: "mnist" }> } | { readonly own: string };
  readonly settings: Settings;
  readonly history: HistoryJson;
}

/** The stored form: the model's files lie beside it. */
interface Index extends Omit<KeptRun, "model"> {
  readonly version: 1;
  readonly model: { readonly sample: "mlp" | "cnn" | "pointnet" } | { readonly files: readonly string[] };
}

/** Writes the files of a run that never change. @throws SorthError when the browser cannot store them */
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

/** Writes a run's progress. Its checkpoints must be written first. */
export async function keepIndex({ model, ...run }: KeptRun): Promise<void> {
  const index: Index = {
    ...run,
    version: 1,
    model: model.kind === "sample" ? { sample: model.name } : { files: model.files.map(({ path }) => path) },
  };
  await writeStored(runFolder, indexName, [JSON.stringify(index)]);
}

/** Reads the kept run; undefined if there is none or it cannot be read. */
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

/** Removes the kept run. */
export async function forget(): Promise<void> {
  try {
    const parent = await storedFolder("sorth-onnx", false);
    await parent.removeEntry("run", { recursive: true });
  } catch {
    // There is none.
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
