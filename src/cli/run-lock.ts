import { unlinkSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { onExit } from "signal-exit";
import { FileError, UsageError } from "../errors.ts";
import { isAlive } from "../onnx/leftovers.ts";
import { textIn } from "../onnx/read-file.ts";
import { reasonOf } from "../onnx/write-file.ts";

/** The process that trains in a folder. */
interface Owner {
  readonly process: number;
  readonly host: string;
}

const fileName = "run.lock";

/**
 * Keeps other commands from training in a run's folder at the same time: two runs would overwrite each other's checkpoints. A
 * process that was killed leaves its lock behind; the next one on this machine takes it over.
 *
 * @returns what gives the folder free again
 * @throws UsageError when another process trains there
 */
export async function lockRun(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, fileName);
  const own: Owner = { process: process.pid, host: hostname() };
  for (let taken = false; !taken; ) {
    try {
      await writeFile(path, `${JSON.stringify(own)}\n`, { flag: "wx" });
      taken = true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
        // On a full disk the file may exist, and be empty.
        await rm(path, { force: true });
        throw new FileError(`cannot write "${path}": ${reasonOf(error)}`);
      }
      await refuseIfAlive(path, folder);
      await rm(path, { force: true });
    }
  }
  const forget = onExit(() => {
    try {
      unlinkSync(path);
    } catch {
      // The folder is gone.
    }
  });
  return async () => {
    forget();
    await rm(path, { force: true });
  };
}

async function refuseIfAlive(path: string, folder: string): Promise<void> {
  const owner = await ownerIn(path);
  // A run that resumes in its own process, as tests and programs do, has its own lock.
  const isOther = owner?.process !== process.pid;
  if (!owner || (owner.host === hostname() && !(isOther && isAlive(owner.process)))) return;
  throw new UsageError(
    `process ${owner.process} on "${owner.host}" trains in "${folder}": wait for its end or stop it, or give --checkpoint another folder; if no such process runs, delete "${path}"`,
  );
}

/** The owner that a lock names; undefined for a lock that was cut off while it was written, or is gone. */
async function ownerIn(path: string): Promise<Owner | undefined> {
  try {
    const { process: number, host } = JSON.parse(await textIn(path));
    return Number.isInteger(number) && number > 0 && typeof host === "string"
      ? { process: number, host }
      : undefined;
  } catch {
    return undefined;
  }
}
