import { readdirSync, readFileSync } from "node:fs";

/** Bytes of memory that a process holds; 0 where the system does not tell (it is read from /proc). */
export function residentBytes(pid: number): number {
  try {
    const [, kilobytes = "0"] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ?? [];
    return Number(kilobytes) * 1024;
  } catch {
    return 0;
  }
}

/** Seconds that the processor has worked for a process; 0 where the system does not tell. */
export function processorSeconds(pid: number): number {
  try {
    // The name of the program, in parentheses, may hold spaces. Times are counted in hundredths of a second.
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

/** Seconds that the thread of a process which was held up most had work and no processor, on a busy machine; 0 where the system does not tell. */
export function heldUpSeconds(pid: number): number {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    // Nanoseconds at work, nanoseconds in the queue, turns.
    const queued = threads.map(
      (thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[1],
    );
    return Math.max(0, ...queued.map(Number)) / 1e9;
  } catch {
    return 0;
  }
}
