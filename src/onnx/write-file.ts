import { existsSync, fdatasync, fsync, mkdirSync, type Stats, statSync, unlinkSync } from "node:fs";
import {
  chmod,
  constants,
  copyFile,
  type FileHandle,
  link,
  lstat,
  open,
  realpath,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { onExit } from "signal-exit";
import { FileError, messageOf, SorthError, UsageError } from "../errors.ts";
import { removeLeftovers, temporaryName } from "./leftovers.ts";
import { type Chunk, chunkSize, inParts, type StoredBytes } from "./stored.ts";

/** The content of a file: bytes, or pieces in order, of which some may lie in another file. */
type Content = Uint8Array | string | readonly Chunk[] | Iterable<Chunk> | AsyncIterable<Chunk>;

/** Options for writing a file. */
export interface WriteOptions {
  /** Replace an existing file. Default: refuse with a UsageError. */
  readonly force?: boolean;
}

/** Bytes per write call. On Linux (ext4), megabytes per call make writing 1 GB up to eight times slower. */
const pieceSize = 256 * 1024;
/** Bytes after which a sync starts in the background while writing goes on; saves about 15 % of the time for 1 GB. */
const syncEvery = 64 * 1024 * 1024;

// Not those of a FileHandle: under Yarn's Plug'n'Play, which puts handles of its own in their place, they throw.
const syncFile = promisify(fsync);
const syncData = promisify(fdatasync);

/**
 * Writes a file atomically: under a temporary name in the same folder, synced, then renamed. An error or a signal leaves
 * neither a partial file nor the temporary one; what a killed process left is removed. A symbolic link stays, and the file to which it leads is written.
 * @param content - bytes, or pieces to write in order. If the first piece is the beginning of a large file, that file is copied by
 * the operating system, and only what differs is written
 * @throws UsageError when the file exists and `force` is not set, and for a folder, a device or a pipe; SorthError when it cannot
 * be written
 */
export async function writeFileSafely(
  given: string,
  content: Content,
  options: WriteOptions = {},
): Promise<void> {
  const path = await targetOf(given);
  const existing = await stat(path).catch(() => undefined);
  if (existing) checkReplaceable(path, existing);
  if (existing && !options.force) throw alreadyThere(path);
  await removeLeftovers(path);
  const temporary = temporaryName(path);
  const forget = onExit(() => removeQuietly(temporary));
  try {
    const base = baseOf(content);
    if (base) await copyBase(base, temporary);
    const handle = await open(temporary, base ? "r+" : "wx");
    try {
      await writeAll(handle, pieces(content), base);
    } finally {
      await handle.close();
    }
    if (existing) await chmod(temporary, existing.mode);
    if (options.force) await rename(temporary, path);
    else await claim(temporary, path);
  } catch (error) {
    if (error instanceof SorthError) throw error;
    throw new FileError(`cannot write "${path}": ${reasonOf(error)}`);
  } finally {
    await rm(temporary, { force: true }).catch(() => {});
    forget();
  }
}

/** The file to which a symbolic link leads, or the path itself. @throws FileError for a link that leads nowhere */
async function targetOf(path: string): Promise<string> {
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isSymbolicLink()) return path;
  return realpath(path).catch(() => {
    throw new FileError(`cannot write "${path}": it is a link to a file that does not exist`);
  });
}

/** @throws UsageError for what a file cannot take the place of: a folder, a device, a pipe */
export function checkReplaceable(path: string, existing: Stats): void {
  if (existing.isFile()) return;
  const kind = existing.isDirectory() ? "folder" : "device or a pipe";
  throw new UsageError(`cannot write "${path}": it is a ${kind}; give a file name`);
}

/**
 * Makes a folder, and those in which it lies, unless it is there. Node's own recursion has no end in folders that never hold another
 * one, as /proc.
 * @throws FileError when it cannot be made
 */
export function makeFolder(path: string): void {
  const isFolder = (one: string) => statSync(one, { throwIfNoEntry: false })?.isDirectory() === true;
  try {
    mkdirSync(path);
  } catch (error) {
    if (isFolder(path)) return;
    const above = dirname(resolve(path));
    if (codeOf(error) !== "ENOENT" || isFolder(above))
      throw new FileError(`cannot make the folder "${path}": ${reasonOf(error)}`);
    makeFolder(above);
    makeFolder(path);
  }
}

/**
 * Makes a temporary file as {@link writeFileSafely} does, and removes it, so that a long work begins only where its result can be
 * written. Of folders that are to be made, it looks at the one in which they will lie.
 * @throws FileError where it cannot
 */
export async function checkWritable(given: string): Promise<void> {
  const path = await targetOf(resolve(given));
  let place = path;
  while (dirname(place) !== place && !existsSync(dirname(place))) place = dirname(place);
  const temporary = temporaryName(place);
  const forget = onExit(() => removeQuietly(temporary));
  try {
    await (await open(temporary, "wx")).close();
  } catch (error) {
    throw new FileError(`cannot write "${given}": ${reasonOf(error)}`);
  } finally {
    await rm(temporary, { force: true }).catch(() => {});
    forget();
  }
}

/**
 * Syncs the folder in which a file lies, so that the file's name is on the disk before another is written or removed: after a
 * power failure, no model is there whose data is not. Nothing happens where the system cannot sync folders.
 */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(dirname(path), "r").catch(() => undefined);
  if (handle) await syncFile(handle.fd).catch(() => {});
  await handle?.close();
}

const alreadyThere = (path: string): UsageError =>
  new UsageError(`"${path}" already exists; give another name, or --force (force: true) to replace it`);

/** Renames the temporary file without replacing a file that appeared in the meantime. */
async function claim(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (codeOf(error) === "EEXIST") throw alreadyThere(path);
    // Some file systems (FAT, many network shares) lack hard links.
    if (await stat(path).catch(() => undefined)) throw alreadyThere(path);
    await rename(temporary, path);
  }
}

/** The part of another file with which a content begins, if that file is to be copied as a whole. */
function baseOf(content: Content): StoredBytes | undefined {
  const first = Array.isArray(content) ? (content[0] as Chunk | undefined) : undefined;
  if (!first || first instanceof Uint8Array || first.start !== 0) return undefined;
  return first.file.isAtPath() ? first : undefined;
}

/** Copies a file; where the file system can, both share their blocks. */
async function copyBase({ file }: StoredBytes, temporary: string): Promise<void> {
  await copyFile(file.path, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  // A copy has the permissions of its source, which may forbid to write.
  await chmod(temporary, 0o666 & ~process.umask());
  // Throws when the file changed while it was copied.
  file.isAtPath();
}

async function* pieces(content: Content): AsyncGenerator<Chunk> {
  if (typeof content === "string") yield new TextEncoder().encode(content);
  else if (content instanceof Uint8Array) yield content;
  else yield* content;
}

/**
 * Writes the pieces in order and syncs them to the disk.
 * @param base - the file of which this one is a copy so far: its parts that stay in their place are not written
 */
async function writeAll(
  handle: FileHandle,
  content: AsyncIterable<Chunk>,
  base: StoredBytes | undefined,
): Promise<void> {
  let unsynced = 0;
  let syncing = Promise.resolve();
  let position = 0;
  for await (const piece of content) {
    if (!(piece instanceof Uint8Array) && piece.file === base?.file && piece.start === position) {
      position += chunkSize(piece);
      continue;
    }
    for (const bytes of inParts(piece)) {
      for (let offset = 0; offset < bytes.length; ) {
        const length = Math.min(pieceSize, bytes.length - offset);
        const { bytesWritten } = await handle.write(bytes, offset, length, position);
        offset += bytesWritten;
        position += bytesWritten;
        unsynced += bytesWritten;
        if (unsynced < syncEvery) continue;
        unsynced = 0;
        await syncing;
        syncing = syncData(handle.fd);
        // The next sync awaits this one. The empty handler covers a write that fails first: its error is reported instead.
        syncing.catch(() => {});
      }
    }
  }
  if (base) await handle.truncate(position);
  await syncing;
  await syncFile(handle.fd);
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // The file was never created, or was already renamed.
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** A file system error in plain words. */
export function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOENT":
      return "no such file or folder";
    case "EEXIST":
      return "a file or link of this name is there";
    case "EISDIR":
    case "ERR_FS_EISDIR":
      return "it is a folder";
    case "EACCES":
    case "EPERM":
      return "permission denied";
    case "ENOTDIR":
      return "a part of the path is not a folder";
    case "ENOSPC":
      return "the disk is full";
    case "EDQUOT":
      return "your share of the disk is used up";
    case "EFBIG":
      return "the file is larger than the system allows (ulimit -f)";
    case "EMFILE":
    case "ENFILE":
      return "too many files are open (ulimit -n)";
    case "EROFS":
      return "the disk is read-only";
    case "ENAMETOOLONG":
      return "the name is too long";
    default:
      return messageOf(error);
  }
}
