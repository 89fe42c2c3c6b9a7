import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { constants, copyFile, link, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { FileError } from "../errors.ts";
import { copySafely } from "./external-node.ts";
import { temporaryName } from "./leftovers.ts";
import { reasonOf, writeFileSafely } from "./write-file.ts";

/** The file of a folder that says which of its files share their bytes with files elsewhere. */
const listName = "shared.json";

/** How a shared file was when it was put there. */
interface SharedFile {
  readonly size: number;
  readonly modified: number;
  readonly sha256: string;
}

/**
 * Gives a folder a file without copying it, where the file system can: as a copy of shared blocks, else as a second name of the
 * same file (a hard link), else as a copy. A second name survives when the first is removed or moved, but bytes that are changed
 * in place change for both: {@link checkShared} finds that.
 */
export async function shareFile(folder: string, source: string, target: string): Promise<void> {
  const file = await realpath(source);
  const temporary = temporaryName(target);
  try {
    try {
      await copyFile(file, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    } catch {
      await rm(temporary, { force: true });
      await link(file, temporary);
      await remember(folder, relative(folder, target), temporary);
    }
    await rename(temporary, target);
  } catch (error) {
    if (error instanceof FileError) throw error;
    await rm(target, { force: true });
    await copySafely(file, target);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function remember(folder: string, name: string, file: string): Promise<void> {
  const { size, mtimeMs } = await stat(file);
  const shared: SharedFile = { size, modified: mtimeMs, sha256: await sha256Of(file) };
  const list = { ...(await listOf(folder)), [name]: shared };
  await writeFileSafely(join(folder, listName), `${JSON.stringify(list, null, 2)}\n`, { force: true });
}

/**
 * Checks the files of a folder that share their bytes with files elsewhere.
 * @throws FileError for one that was changed there
 */
export async function checkShared(folder: string): Promise<void> {
  for (const [name, { size, modified, sha256 }] of Object.entries(await listOf(folder))) {
    const file = join(folder, name);
    const found = await stat(file).catch(() => undefined);
    // The reader of the model says what is missing.
    if (!found || (found.size === size && found.mtimeMs === modified)) continue;
    // A folder that was copied or unpacked has other times.
    if (found.size === size && (await sha256Of(file)) === sha256) continue;
    throw new FileError(
      `"${file}" is a second name of the file from which the run was begun, and that was changed in place afterwards: put the former ${basename(name)} there, or begin the run again`,
    );
  }
}

async function listOf(folder: string): Promise<Readonly<Record<string, SharedFile>>> {
  const file = join(folder, listName);
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "{}";
    throw new FileError(`${file} cannot be read: ${reasonOf(error)}`);
  });
  try {
    const list: unknown = JSON.parse(text);
    if (typeof list === "object" && list !== null) return list as Record<string, SharedFile>;
  } catch {
    // Reported below.
  }
  throw new FileError(`${file} is damaged: it lists the files that share their bytes with files elsewhere`);
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(file, { highWaterMark: 2 ** 20 })) hash.update(part as Buffer);
  return hash.digest("hex");
}
