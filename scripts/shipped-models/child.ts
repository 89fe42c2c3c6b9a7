/**
 * Runs one command on one model in a separate process, so that its memory can be measured and a crash does not end the survey.
 * Writes {@link Finished} as JSON to the file RESULT; the command prints to stdout and stderr as usual.
 *
 * npx tsx child.ts RESULT cli inspect model.onnx        a command of the command line
 * npx tsx child.ts RESULT steps model.onnx '{"batch":4,"dims":{}}'   twenty steps of AdamW on random numbers
 * npx tsx child.ts RESULT runs model.onnx '{"batch":4,"dims":{}}'    one run of the model itself
 */
import { readFileSync, writeFileSync } from "node:fs";
import { run } from "../../src/cli/program.ts";
import type { Lengths } from "./lengths.ts";
import { runOnce } from "./random-inputs.ts";
import { trainingSteps } from "./training-steps.ts";

/** The result of a command that ended by itself. */
export interface Finished {
  readonly code: number;
  /** Run time, without the time to load the program. */
  readonly seconds: number;
  /** Peak memory of the process, including the program and ONNX Runtime. */
  readonly peakMegabytes: number;
  /** Losses of the training steps. */
  readonly losses?: readonly number[];
}

const [result = "", kind, ...rest] = process.argv.slice(2);
const start = performance.now();
let code = 0;
let losses: readonly number[] | undefined;
if (kind === "steps" || kind === "runs") {
  const [model = "", json = "{}"] = rest;
  const lengths = JSON.parse(json) as Lengths;
  try {
    if (kind === "steps") losses = await trainingSteps(model, lengths);
    else await runOnce(model, lengths);
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : error}`);
    code = 1;
  }
} else {
  code = await run(rest, { stdout: process.stdout, stderr: process.stderr });
}
const seconds = (performance.now() - start) / 1000;
writeFileSync(
  result,
  JSON.stringify({
    code,
    seconds,
    peakMegabytes: peakMegabytes(),
    ...(losses && { losses }),
  } satisfies Finished),
);
// Exit explicitly: sessions that a command leaves open would keep the process alive.
process.exit(code);

/** Peak resident memory as counted by the kernel; of mapped files, only the parts that were read count. */
function peakMegabytes(): number {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return line ? Number(line) / 1024 : process.resourceUsage().maxRSS / 1024;
}
