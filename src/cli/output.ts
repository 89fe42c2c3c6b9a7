import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { SorthError, UsageError } from "../errors.ts";

/**
 * Refuses an output that could not be written at the end, before long work begins.
 * @throws UsageError when the file exists and `force` is not set, or is a folder; SorthError when its folder is missing.
 */
export async function checkOutput(path: string, { force }: { force: boolean }): Promise<void> {
  const existing = await stat(path).catch(() => undefined);
  if (existing?.isDirectory()) {
    throw new UsageError(`cannot write "${path}": it is a folder; give a file name`);
  }
  if (existing && !force) {
    throw new UsageError(`"${path}" exists already; give another name, or --force to replace it`);
  }
  const folder = await stat(dirname(path)).catch(() => undefined);
  if (!folder?.isDirectory()) {
    throw new SorthError(`cannot write "${path}": there is no folder "${dirname(path)}"; make it first`);
  }
}
