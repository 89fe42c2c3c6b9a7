import { readFile, stat } from "node:fs/promises";
import { extname } from "node:path";
import { FileError, messageOf, UsageError } from "../errors.ts";
import type { SplitData } from "./dataset.ts";
import { loadMnist } from "./mnist-node.ts";
import { parseNpz } from "./npz.ts";

/** Reads an `.npz` file; {@link parseNpz} says what it must hold. @throws SorthError when it cannot be read */
export async function loadNpz(path: string): Promise<SplitData> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new FileError(`${path}: cannot be read (${messageOf(error)})`);
  }
  return parseNpz(bytes, path);
}

/**
 * Loads the data that `--data` names.
 * @param spec - `mnist`, or the path of an `.npz` file
 * @throws UsageError for anything else, SorthError when the data cannot be read
 */
export async function loadData(spec: string): Promise<SplitData> {
  if (spec === "mnist") return loadMnist();
  const kind = extname(spec).toLowerCase();
  const folder = await stat(spec).then(
    (info) => info.isDirectory(),
    () => false,
  );
  if (folder) throw new UsageError(`${spec}: folders of data are not supported yet: use .npz`);
  if (kind === ".npz") return loadNpz(spec);
  if (/^\.csv(:.*)?$/.test(kind)) throw new UsageError(`${spec}: .csv is not supported yet: use .npz`);
  throw new UsageError(`${spec}: unknown kind of data; give mnist or an .npz file with the arrays x and y`);
}
