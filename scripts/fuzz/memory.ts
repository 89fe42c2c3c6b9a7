import { readFileSync } from "node:fs";

/** Bytes of memory that a process holds; 0 where the system does not tell (it is read from /proc). */
export function residentBytes(pid: number): number {
  try {
    const [, kilobytes = "0"] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ?? [];
    return Number(kilobytes) * 1024;
  } catch {
    return 0;
  }
}
