import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { messageOf, SorthError } from "../errors.ts";
import type { ObservationEvent, TrainingEvent } from "../index.ts";
import { ProgressLine } from "../report/progress.ts";
import { RunLog } from "./run-log.ts";
import { type RunSettings, writeRunSettings } from "./run-settings.ts";
import type { Terminal } from "./terminal.ts";

/** A run that is under way, and where it is written. */
export interface WatchedRun {
  readonly events: AsyncIterable<TrainingEvent | ObservationEvent>;
  /** Its folder. */
  readonly folder: string;
  readonly isResumed: boolean;
  /** How it was begun, to be kept in its folder. */
  readonly settings: RunSettings | undefined;
  /** Remarks that wait for the first step; later ones are added. */
  readonly remarks: string[];
  readonly signal: AbortSignal | undefined;
  /** Writes its report; undefined where none is wanted. */
  readonly report: (() => Promise<void>) | undefined;
  readonly steps: () => number;
  /** What is typed after `sorth-onnx train` to go on with it. */
  readonly again: readonly string[];
}

/**
 * Shows a run and writes its record, to its end.
 * @returns the event at the end
 * @throws SorthError when the user stops it, with how to go on; and the error that ends it
 */
export async function watchRun(run: WatchedRun, terminal: Terminal): Promise<TrainingEvent | undefined> {
  const { events, folder, settings, remarks } = run;
  const progress = new ProgressLine(terminal.progress);
  const log = new RunLog(folder, run.isResumed);
  const reportAnyway = () => run.report?.().catch((reason) => terminal.note(messageOf(reason)));
  let end: TrainingEvent | undefined;
  try {
    for await (const event of events) {
      for (const remark of remarks.splice(0)) terminal.note(remark);
      if (event.event !== "angles" && event.event !== "gradients") progress.show(event);
      if (log.add(event) === "begun") {
        // With --force the folder may hold another run, whose best weights are not this one's.
        for (const kind of ["best", "last"]) await rm(join(folder, `${kind}.safetensors`), { force: true });
        if (settings) await writeRunSettings(folder, settings);
      }
      if (event.event === "end") end = event;
      // Steps block the event loop: Ctrl-C is heard between them.
      await setImmediate();
    }
  } catch (error) {
    log.flush();
    // The run's own error is the one that counts.
    if (run.steps() > 0) await reportAnyway();
    throw error;
  } finally {
    progress.clear();
    log.flush();
  }
  if (run.signal?.aborted) {
    await reportAnyway();
    throw new SorthError(
      `stopped after step ${run.steps()}; to go on: sorth-onnx train ${run.again.map(quoted).join(" ")}`,
    );
  }
  return end;
}

/** A word of a command line as a shell reads it. */
const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
