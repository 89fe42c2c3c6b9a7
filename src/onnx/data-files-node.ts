import { readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { checkedLocation } from "./external.ts";
import { realPlace } from "./external-node.ts";
import { Model } from "./model.ts";
import { skim, skimPieces } from "./skim.ts";
import { openStored } from "./stored-file-node.ts";

interface FolderData {
  /** Those of the file in whose place a model is to be written. */
  readonly replaced: ReadonlySet<string>;
  /** Whether another model of the folder may name the file; also so if one of them cannot be read. */
  isUsed(file: string): Promise<boolean>;
}

/** Tells which data files the models in the folder of `path` name. Weights are not read. */
export async function dataInFolder(path: string): Promise<FolderData> {
  const folder = dirname(resolve(path));
  return {
    replaced: (await dataOf(resolve(path))) ?? new Set(),
    async isUsed(file) {
      for (const name of await readdir(folder)) {
        if (!/\.onnx$/i.test(name) || name === basename(path)) continue;
        const files = await dataOf(join(folder, name));
        if (!files || files.has(file)) return true;
      }
      return false;
    },
  };
}

/** The data files that a model names; undefined if it cannot be read. */
async function dataOf(path: string): Promise<ReadonlySet<string> | undefined> {
  if (!(await stat(path).catch(() => undefined))?.isFile()) return new Set();
  try {
    const file = openStored(path);
    try {
      const skimmed = skim(file);
      const model = skimmed
        ? Model.fromSkimmed(file, skimmed, {}, skimPieces)
        : Model.fromBytes(file.read(0, file.size));
      return await dataPlaces(model, dirname(path));
    } finally {
      file.close();
    }
  } catch {
    return undefined;
  }
}

/** The data files of a model that lies in a folder. @throws SorthError for a location outside of the folder */
export async function dataPlaces(model: Model, folder: string): Promise<ReadonlySet<string>> {
  const files = [...model.externalLocations].map((location) => join(folder, checkedLocation(location)));
  return new Set(await Promise.all(files.map(realPlace)));
}

/**
 * A name for the data beside a model: `model.onnx.data`, or with a number. It is free, or, with `force`, that of a file which no
 * model names (an interrupted process left it): the data of the model that is replaced stay whole until the new one is in place.
 * @param kept - data files of the model that is written
 */
export async function freeDataName(
  path: string,
  kept: ReadonlySet<string>,
  { replaced, isUsed }: FolderData,
  force: boolean,
): Promise<string> {
  for (let i = 1; ; i++) {
    const name = `${path}${i === 1 ? "" : `.${i}`}.data`;
    const place = await realPlace(resolve(name));
    if (kept.has(place) || replaced.has(place)) continue;
    const existing = await stat(name).catch(() => undefined);
    if (!existing || (force && existing.isFile() && !(await isUsed(place)))) return name;
  }
}

/** Removes the data of a model that was replaced: files with the names of {@link freeDataName} that no model names any more. */
export async function removeReplacedData(
  path: string,
  kept: ReadonlySet<string>,
  { replaced, isUsed }: FolderData,
): Promise<void> {
  const start = await realPlace(resolve(path));
  for (const file of replaced) {
    const isOwn = file.startsWith(start) && /^(\.\d+)?\.data$/.test(file.slice(start.length));
    // Where another process has the file open, some systems do not remove it.
    if (isOwn && !kept.has(file) && !(await isUsed(file))) await rm(file, { force: true }).catch(() => {});
  }
}
