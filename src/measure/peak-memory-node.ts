import { readFileSync, writeFileSync } from "node:fs";

/**
 * Peak resident memory of this process in MiB since the last call; on systems other than Linux, since the start of the
 * process. The first call is the baseline: what the process takes before it has loaded a model.
 */
export function peakMemory(): number {
  if (process.platform !== "linux") return process.resourceUsage().maxRSS / 1024;
  const [, kibibytes] = /VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  writeFileSync("/proc/self/clear_refs", "5");
  return Number(kibibytes) / 1024;
}
