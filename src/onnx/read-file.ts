import { readFileSync, type Stats, statSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { FileError } from "../errors.ts";

/** @throws FileError for a pipe, a device or a socket: to read one may wait, or fill the memory, for ever */
function checkOrdinary(found: Stats): void {
  if (found.isFile() || found.isDirectory()) return;
  throw new FileError("it is a pipe, a device or a socket; give an ordinary file");
}

/**
 * The bytes of a file in a folder that may be a stranger's.
 * @throws FileError, without the path, for a pipe, a device or a socket; the system's error for what cannot be read
 */
export async function readOrdinary(path: string): Promise<Buffer> {
  await ordinary(path);
  return readFile(path);
}

/** {@link readOrdinary}, as text. */
export const textIn = async (path: string): Promise<string> => (await readOrdinary(path)).toString("utf8");

/** {@link readOrdinary}, at once. */
export function bytesAt(path: string): Buffer {
  checkOrdinary(statSync(path));
  return readFileSync(path);
}

/** {@link textIn}, at once. */
export const textAt = (path: string): string => bytesAt(path).toString("utf8");

/** @returns the path of a file that is to be opened. @throws as {@link readOrdinary} does */
export async function ordinary(path: string): Promise<string> {
  checkOrdinary(await stat(path));
  return path;
}
