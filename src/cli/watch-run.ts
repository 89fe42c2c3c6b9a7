import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { messageOf, SorthError } from "../errors.ts";
import type { ObservationEvent, TrainingEvent } from "../index.ts";
import { makeFolder } from "../onnx/write-file.ts";
import { ProgressLine } from "../report/progress.ts";
import type { TensorBoardLog } from "../report/tensorboard/log-node.ts";
import { lockRun } from "./run-lock.ts";
import { RunLog } from "./run-log.ts";
import { type RunSettings, writeRunSettings } from "./run-settings.ts";
import type { Terminal } from "./terminal.ts";
import { declare } from "./train-call.ts";

/** A run in progress, and where its files go. */
interface WatchedRun {
  readonly events: AsyncIterable<TrainingEvent | ObservationEvent>;
  readonly folder: string;
  readonly isResumed: boolean;
  /** How the run was begun; written to its folder. */
  readonly settings: RunSettings | undefined;
  /** Remarks to show after the first step; later ones are added. */
  readonly remarks: string[];
  readonly signal: AbortSignal | undefined;
  /** Writes events for TensorBoard; undefined if the user wants none. */
  readonly board: TensorBoardLog | undefined;
  /** Writes the report; undefined if the user wants none. */
  readonly report: (() => Promise<void>) | undefined;
  readonly steps: () => number;
  /** The arguments after `sorth-onnx train` that resume the run. */
  readonly again: readonly string[];
  /** Called when the folder holds the first event of a new run. */
  readonly began: () => Promise<void>;
}

/**
 * Shows a run and writes its record until it ends.
 * @returns the last event
 * @throws SorthError that says how to resume, when the user stops the run; and the error that ends it
 */
export async function watchRun(run: WatchedRun, terminal: Terminal): Promise<TrainingEvent | undefined> {
  const { events, folder, settings, remarks } = run;
  const progress = new ProgressLine(terminal.progress);
  const log = new RunLog(folder, run.isResumed);
  const reportAnyway = async () => {
    // The report is made from the log. If the log could not be started, the run's own error says why.
    if (log.hasBegun) await run.report?.().catch((reason) => terminal.note(messageOf(reason)));
  };
  let end: TrainingEvent | undefined;
  let unlock: (() => Promise<void>) | undefined;
  try {
    for await (const event of events) {
      unlock ??= await lockedFolder(folder);
      for (const remark of remarks.splice(0)) terminal.note(remark);
      if (event.event !== "angles" && event.event !== "gradients") progress.show(event);
      if (log.add(event) === "begun") {
        // With --force the folder may hold the checkpoints of another run.
        await removeCheckpoints(folder);
        if (settings) await writeRunSettings(folder, settings, declare);
        await run.began();
      }
      run.board?.add(event);
      if (event.event === "end") end = event;
      // Steps block the event loop: Ctrl-C is handled between them.
      await setImmediate();
    }
    log.flush();
    run.board?.flush();
  } catch (error) {
    progress.clear();
    // The run's own error matters more than those of its records, which have the same reason if the disk is full.
    for (const record of [log, run.board]) {
      try {
        record?.flush();
      } catch (reason) {
        if (messageOf(reason) !== messageOf(error)) terminal.note(messageOf(reason));
      }
    }
    if (run.steps() > 0) await reportAnyway();
    throw error;
  } finally {
    progress.clear();
    await unlock?.();
  }
  if (run.signal?.aborted) {
    await reportAnyway();
    if (run.again.includes(folder) && !existsSync(join(folder, "last.safetensors"))) {
      throw new SorthError(
        "stopped before the first step, so there is nothing to go on from: begin the run again",
      );
    }
    throw new SorthError(
      `stopped after step ${run.steps()}; to go on: sorth-onnx train ${run.again.map(quoted).join(" ")}`,
    );
  }
  return end;
}

/** Makes the folder of a run, which no other process may use meanwhile. @returns what gives it free again */
async function lockedFolder(folder: string): Promise<() => Promise<void>> {
  makeFolder(folder);
  return lockRun(folder);
}

/** Removes the checkpoints in a run's folder. */
export async function removeCheckpoints(folder: string): Promise<void> {
  const names = await readdir(folder);
  const old = names.filter((name) => /^(best|last|epoch-\d+)\.safetensors$/.test(name));
  for (const name of old) await rm(join(folder, name));
}

/** A word of a command line, quoted for a shell. */
export const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
