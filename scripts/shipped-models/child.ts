/**
 * One command on one model in a process of its own, so that its memory is its own and nothing it does ends the survey.
 * Writes {@link Finished} as JSON to the file named first; what the command prints goes to stdout and stderr as ever.
 *
 * npx tsx child.ts RESULT cli inspect model.onnx        a command of the command line
 * npx tsx child.ts RESULT steps model.onnx '{"batch":4,"dims":{}}'   twenty steps of AdamW on random numbers
 */
import { readFileSync, writeFileSync } from "node:fs";
import { run } from "../../src/cli/program.ts";
import type { Lengths } from "./lengths.ts";
import { trainingSteps } from "./training-steps.ts";

/** What is known when a command has ended by itself. */
export interface Finished {
  readonly code: number;
  /** Without the time that it takes to load the program. */
  readonly seconds: number;
  /** The most memory that the process held, program and ONNX Runtime included. */
  readonly peakMegabytes: number;
  /** Losses of the training steps. */
  readonly losses?: readonly number[];
}

const [result = "", kind, ...rest] = process.argv.slice(2);
const start = performance.now();
let code = 0;
let losses: readonly number[] | undefined;
if (kind === "steps") {
  const [model = "", lengths = "{}"] = rest;
  try {
    losses = await trainingSteps(model, JSON.parse(lengths) as Lengths);
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
// Sessions that a command leaves open to the end of the process would keep it alive.
process.exit(code);

/** The peak of resident memory as the kernel counts it; files that are only mapped count where they were read. */
function peakMegabytes(): number {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return line ? Number(line) / 1024 : process.resourceUsage().maxRSS / 1024;
}
