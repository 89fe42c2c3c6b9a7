import { UsageError } from "../errors.ts";
import type { TrainingEvent } from "./events.ts";

/** Who works with the sessions of a trainer: one fit at a time, and nobody once they are freed. */
export class TrainerUse {
  /** Whether a fit is under way, also one whose loop waits between two events, or a checkpoint is read. */
  #isBusy = false;
  #released: Promise<void> | undefined;

  /**
   * Does a fit, with no other beside it.
   * @param read - brings the state to the last step, so that asking for it needs no fetch; also when the caller leaves the loop
   */
  async *fit(
    begin: () => Promise<AsyncIterable<TrainingEvent>>,
    read: () => Promise<unknown>,
  ): AsyncGenerator<TrainingEvent, void, undefined> {
    this.checkNoFit();
    this.#isBusy = true;
    let failed = true;
    try {
      yield* await begin();
      failed = false;
    } finally {
      // A failure is thrown, not an error of this read.
      const done = this.#released ?? read();
      await (failed ? done.catch(() => {}) : done).finally(() => (this.#isBusy = false));
    }
  }

  /** Does work with the state that no fit may do meanwhile. */
  async alone(work: () => Promise<void>): Promise<void> {
    this.checkNoFit();
    this.#isBusy = true;
    await work().finally(() => (this.#isBusy = false));
  }

  /** @throws UsageError after {@link release} */
  checkOpen(): void {
    if (!this.#released) return;
    throw new UsageError("the trainer was released: make another one, or resume its folder (Trainer.resume)");
  }

  /** @throws UsageError while a fit is under way, whose steps would mix with others; and after {@link release} */
  checkNoFit(): void {
    this.checkOpen();
    if (!this.#isBusy) return;
    throw new UsageError(
      "a fit of this trainer, or a load, is under way: let it end, or leave its loop, before that",
    );
  }

  /** Waits for work with the sessions. @throws UsageError for what fails because they were freed meanwhile */
  async during<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      this.checkOpen();
      throw error;
    }
  }

  /** Frees the sessions once. */
  release(free: () => Promise<void>): Promise<void> {
    this.#released ??= free();
    return this.#released;
  }
}
