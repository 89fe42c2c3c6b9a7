import { randomBytes } from "node:crypto";
import { readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** A temporary file counts as left behind after this many milliseconds without a write: a process of another computer may share the folder. */
const resting = 10_000;

/** A name in the same folder, hidden, under which a file or folder is made before it gets its own; it says whose it is. */
export const temporaryName = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`);

/** Removes what processes that were killed have left of a path under its temporary names. */
export async function removeLeftovers(path: string): Promise<void> {
  const [folder, start] = [dirname(path), `.${basename(path)}.`];
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    if (!name.startsWith(start)) continue;
    const [, owner] = /^(\d+)-[0-9a-f]{8}\.tmp$/.exec(name.slice(start.length)) ?? [];
    if (owner === undefined || isAlive(Number(owner))) continue;
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (!found || Date.now() - found.mtimeMs < resting) continue;
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => {});
  }
}

/** Whether a process of this number runs. */
export function isAlive(number: number): boolean {
  try {
    process.kill(number, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as another user's.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
