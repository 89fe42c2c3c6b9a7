#!/usr/bin/env node
import { constants } from "node:os";
import { setFlagsFromString } from "node:v8";
import { matchesInLinearTime } from "../block/bounded-pattern.ts";
import { reasonOf } from "../onnx/write-file.ts";
import { quietOrt } from "../runtime/ort-node.ts";
import { run } from "./program.ts";

/**
 * The first Ctrl-C asks the command to stop after the current step, and so does the signal of a system that shuts down or of a
 * terminal that is closed; the second one quits immediately.
 */
function onInterrupt(): AbortSignal {
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(128 + constants.signals[signal]);
    process.stderr.write(signal === "SIGINT" ? "\nstopping; Ctrl-C again quits at once\n" : "\nstopping\n");
    controller.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
  return controller.signal;
}

quietOrt();
// If matching a pattern of a file (a checkpoint, a tokenizer) backtracks too long, Node goes on with the engine whose time is linear.
setFlagsFromString("--enable-experimental-regexp-engine-on-excessive-backtracks");
matchesInLinearTime();

// A file beyond the limit of its size (ulimit -f) is a failed write with a message, not the end of the process.
process.on("SIGXFSZ", () => {});

let isLost = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // The reader of the output may stop early (`sorth-onnx inspect … | head`), which is not an error.
  if (error.code === "EPIPE") process.exit(0);
  if (!isLost) process.stderr.write(`error: cannot write to stdout: ${reasonOf(error)}\n`);
  isLost = true;
  process.exitCode = 1;
});
// Where progress and remarks cannot be shown, the work goes on.
process.stderr.on("error", () => {});

const code = await run(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  onInterrupt,
});
process.exitCode = isLost && code === 0 ? 1 : code;
