import { isPending, startedFill } from "../data/dataset.ts";
import type { Feeder } from "./step-feeds.ts";

/** Steps of one run, and their samples. */
export interface PlannedRun {
  /** Number of steps done before the run, and after it. */
  readonly first: number;
  readonly done: number;
  /** The pass over the data, from 0. */
  readonly epoch: number;
  readonly indices: Uint32Array;
}

interface ReadRun {
  readonly feeder: Feeder;
  /** Number of steps done after the run; the feeder may hold samples of later steps, too. */
  readonly done: number;
}

/**
 * Reads the samples of training runs. From a dataset that answers with promises it reads one run ahead, into a second
 * feeder, while ONNX Runtime computes. Other data are read when they are needed, which takes no memory.
 */
export class RunReader {
  readonly #make: (tell: boolean) => Feeder;
  /** The feeder of the current run. */
  #now: Feeder;
  #other: Feeder | undefined;
  #isAsynchronous = false;
  #ahead: { readonly run: PlannedRun; readonly feeder: Feeder; readonly filled: Promise<void> } | undefined;

  /** @param make - makes a feeder; the second one must not repeat messages to the user */
  constructor(make: (tell: boolean) => Feeder) {
    this.#make = make;
    this.#now = make(true);
  }

  /**
   * The samples of a run, read ahead if that was the run to come. The previous run must be settled.
   * @param signal - after an abort the samples are not waited for, and must not be used
   * @throws the error of the dataset
   */
  async read(run: PlannedRun, signal?: AbortSignal): Promise<ReadRun> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    if (ahead?.run.first === run.first) {
      await settledOrAborted(ahead.filled, signal);
      this.#other = this.#now;
      this.#now = ahead.feeder;
      return { feeder: this.#now, done: Math.min(ahead.run.done, run.done) };
    }
    const filled = this.#now.fill(run.indices, run.epoch);
    if (isPending(filled)) {
      this.#isAsynchronous = true;
      await settledOrAborted(filled, signal);
    }
    // Steps were taken back, so other samples were needed; their feeder is free again once it has been filled.
    if (ahead)
      await settledOrAborted(
        ahead.filled.catch(() => {}),
        signal,
      );
    return { feeder: this.#now, done: run.done };
  }

  /** Begins to read a run while the current one computes. */
  readAhead(next: () => PlannedRun): void {
    if (!this.#isAsynchronous) return;
    this.#other ??= this.#make(false);
    const [run, feeder] = [next(), this.#other];
    this.#ahead = { run, feeder, filled: startedFill(() => feeder.fill(run.indices, run.epoch)) };
  }
}

/** Waits for a promise, but no longer than until an abort. */
async function settledOrAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return promise;
  let stop = () => {};
  const aborted = new Promise<void>((resolve) => {
    stop = resolve;
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", stop, { once: true });
  });
  await Promise.race([promise, aborted]).finally(() => signal.removeEventListener("abort", stop));
}
