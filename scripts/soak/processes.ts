import { readdirSync, readFileSync } from "node:fs";

/** What processes hold together. */
export interface Held {
  /** Memory in MiB that is theirs alone, or shared between them: no pages of files. */
  readonly memory: number;
  /** Open files, pipes and sockets. */
  readonly handles: number;
}

/** Whether this system tells it: it is read from /proc. */
export const isKnown = process.platform === "linux";

/** What a process holds. */
export function heldBy(pid: number): Held {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const memory = (kilobytes(status, "RssAnon") + kilobytes(status, "RssShmem")) / 1024;
    return { memory, handles: readdirSync(`/proc/${pid}/fd`).length };
  } catch {
    // It has ended meanwhile.
    return { memory: 0, handles: 0 };
  }
}

const kilobytes = (status: string, key: string): number =>
  Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);

/** What the processes hold that this one has begun, and those that they have begun: a browser's, its software GPU among them. */
export function heldByChildren(): Held {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      parents.set(Number(name), kilobytes(readFileSync(`/proc/${name}/status`, "latin1"), "PPid"));
    } catch {
      // It has ended meanwhile.
    }
  }
  const isOurs = (pid: number): boolean => {
    const parent = parents.get(pid);
    return parent !== undefined && (parent === process.pid || isOurs(parent));
  };
  const all = [...parents.keys()].filter(isOurs).map(heldBy);
  return {
    memory: all.reduce((sum, { memory }) => sum + memory, 0),
    handles: all.reduce((sum, { handles }) => sum + handles, 0),
  };
}
