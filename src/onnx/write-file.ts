import { randomBytes } from "node:crypto";
import { unlinkSync } from "node:fs";
import { chmod, type FileHandle, link, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { onExit } from "signal-exit";
import { FileError, messageOf, SorthError, UsageError } from "../errors.ts";

/** How a file is written. */
export interface WriteOptions {
  /** Replace a file that exists. Default: refuse. */
  readonly force?: boolean;
}

/** Bytes handed to one write call. On Linux (ext4) writes of megabytes take 1 GB up to eight times as long. */
const pieceSize = 256 * 1024;
/** Bytes after which the disk is set to work while more are written: 1 GB is done some 15 % sooner. */
const syncEvery = 64 * 1024 * 1024;

/**
 * Writes a file as a whole or not at all: under a temporary name in the same folder, synced, then renamed. An error or a
 * signal leaves neither a part of the file nor the temporary one.
 * @param content - bytes, or pieces of bytes that are written one after the other
 * @throws UsageError when the file exists and `force` is not set; SorthError when it cannot be written.
 */
export async function writeFileSafely(
  path: string,
  content: Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: WriteOptions = {},
): Promise<void> {
  const existing = await stat(path).catch(() => undefined);
  if (existing?.isDirectory())
    throw new UsageError(`cannot write "${path}": it is a folder; give a file name`);
  if (existing && !options.force) throw alreadyThere(path);
  const temporary = join(
    dirname(path),
    `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`,
  );
  const forget = onExit(() => removeQuietly(temporary));
  try {
    const handle = await open(temporary, "wx");
    try {
      await writeAll(handle, pieces(content));
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
    await rm(temporary, { force: true });
    forget();
  }
}

const alreadyThere = (path: string): UsageError =>
  new UsageError(`"${path}" exists already; give another name, or --force to replace it`);

/** Gives the temporary file its name without ever replacing a file that appeared meanwhile. */
async function claim(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (codeOf(error) === "EEXIST") throw alreadyThere(path);
    // Some file systems (FAT, many network shares) have no hard links.
    if (await stat(path).catch(() => undefined)) throw alreadyThere(path);
    await rename(temporary, path);
  }
}

async function* pieces(
  content: Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (typeof content === "string") yield new TextEncoder().encode(content);
  else if (content instanceof Uint8Array) yield content;
  else yield* content;
}

/** Writes the pieces one after the other, and to the disk. */
async function writeAll(handle: FileHandle, content: AsyncIterable<Uint8Array>): Promise<void> {
  let unsynced = 0;
  let syncing = Promise.resolve();
  for await (const bytes of content) {
    for (let offset = 0; offset < bytes.length; ) {
      const { bytesWritten } = await handle.write(bytes, offset, Math.min(pieceSize, bytes.length - offset));
      offset += bytesWritten;
      unsynced += bytesWritten;
      if (unsynced < syncEvery) continue;
      unsynced = 0;
      await syncing;
      syncing = handle.datasync();
      // Awaited before the next one; should a write fail first, its error is the one that counts.
      syncing.catch(() => {});
    }
  }
  await syncing;
  await handle.sync();
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // The file was never made, or has its final name already.
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** A file system error in words. */
export function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOENT":
      return "no such file or folder";
    case "EISDIR":
      return "it is a folder";
    case "EACCES":
    case "EPERM":
      return "permission denied";
    case "ENOTDIR":
      return "a part of the path is not a folder";
    case "ENOSPC":
      return "the disk is full";
    default:
      return messageOf(error);
  }
}
