import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeError } from "../errors.ts";

/** The time of an operator in a run of a session. */
export interface OperatorTime {
  readonly operator: string;
  /** Nodes of this operator that ran. */
  readonly calls: number;
  /** Time of all these nodes together, mean over the runs. */
  readonly milliseconds: number;
  /** Share of the time of all operators. */
  readonly share: number;
}

/** An event of ONNX Runtime's profile; times in microseconds. */
interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly args?: { readonly op_name?: string };
}

/** Operators whose time is that of the nodes inside. */
const containers = new Set(["If", "Loop", "Scan"]);

/**
 * Time by operator from a profile of ONNX Runtime, the slowest first.
 * @param skipped - runs at the beginning that do not count
 */
export function operatorTimes(profile: readonly ProfileEvent[], skipped: number): OperatorTime[] {
  const starts = profile.filter(({ name }) => name === "model_run").map(({ ts }) => ts);
  const runs = starts.length - skipped;
  const begin = starts.sort((a, b) => a - b)[skipped];
  if (begin === undefined) throw new RuntimeError("ONNX Runtime's profile holds no run that counts");
  const sums = new Map<string, { calls: number; time: number }>();
  for (const { cat, name, ts, dur, args } of profile) {
    const operator = args?.op_name;
    if (cat !== "Node" || !name.endsWith("_kernel_time") || ts < begin) continue;
    if (operator === undefined || containers.has(operator)) continue;
    const { calls, time } = sums.get(operator) ?? { calls: 0, time: 0 };
    sums.set(operator, { calls: calls + 1, time: time + dur });
  }
  const all = [...sums.values()].reduce((sum, { time }) => sum + time, 0);
  return [...sums]
    .sort(([, a], [, b]) => b.time - a.time)
    .map(([operator, { calls, time }]) => ({
      ...{ operator, calls: calls / runs, milliseconds: time / 1000 / runs },
      share: all === 0 ? 0 : time / all,
    }));
}

/**
 * Lets a session write its profile, reads it and removes the file.
 * @param run - opens a session whose profile file's name begins with this text, runs it and releases it
 */
export async function profiled(
  run: (prefix: string) => Promise<void>,
  skipped: number,
): Promise<OperatorTime[]> {
  const folder = await mkdtemp(join(tmpdir(), "sorth-onnx-profile-"));
  try {
    await run(join(folder, "profile"));
    const files = await Promise.all(
      (await readdir(folder)).map((name) => readFile(join(folder, name), "utf8")),
    );
    const longest = files.reduce((a, b) => (b.length > a.length ? b : a), "");
    if (longest === "") throw new RuntimeError("ONNX Runtime wrote no profile");
    return operatorTimes(JSON.parse(longest) as ProfileEvent[], skipped);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
