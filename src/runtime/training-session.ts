import { UsageError } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { StepFeeder } from "./step-feeds.ts";
import { allFinite } from "./step-results.ts";
import type { StepScalars } from "./step-scalars.ts";
import type { Fed, StepResult, StepSession } from "./step-session.ts";

/** A run whose steps are being told one after the other. */
interface Run {
  readonly feeder: StepFeeder;
  readonly steps: readonly StepScalars[];
  /** Whether the session's state is that after all steps; else, for a loss that is no number, that before the first. */
  readonly advanced: boolean;
  told: number;
}

/**
 * A session that does several steps in one run, and lets them look like single ones: whoever asks for the state sees that
 * after the last step that was told. For that the run is taken back and its first steps are done again, to the same bits.
 */
export class TrainingSession {
  readonly #session: StepSession;
  readonly #onTakenBack: () => void;
  #run: Run | undefined;

  /** @param onTakenBack - called when steps of a run were taken back, to be done again */
  constructor(session: StepSession, onTakenBack: () => void) {
    this.#session = session;
    this.#onTakenBack = onTakenBack;
  }

  /** Does the steps that a feeder holds; each is to be told before the next run. */
  async run(feeder: StepFeeder, steps: readonly StepScalars[]): Promise<readonly StepResult[]> {
    const results = await this.#session.run(feeder.feeds(steps));
    this.#run = { feeder, steps, advanced: allFinite(results), told: 0 };
    return results;
  }

  /** Counts the next step of the run as told. */
  tell(): void {
    if (this.#run) this.#run.told += 1;
  }

  /** Brings the state to the last step told; the steps of the run behind it are then to be done again. */
  async settle(): Promise<void> {
    const run = this.#run;
    if (!run || this.settled) return;
    const { feeder, steps, advanced, told } = run;
    this.#run = undefined;
    if (advanced) {
      this.#session.undo();
      this.#onTakenBack();
    }
    if (told > 0) await this.#session.run(feeder.feeds(steps.slice(0, told)));
  }

  /** The state by input name; undefined where {@link readState} has to fetch it, or to settle first. */
  state(): ReadonlyMap<string, Tensor> | undefined {
    return this.settled ? this.#session.state() : undefined;
  }

  async readState(): Promise<ReadonlyMap<string, Tensor>> {
    await this.settle();
    return this.#session.readState();
  }

  /** The state where it lies, to feed to forward sessions of the same backend. */
  async held(): Promise<ReadonlyMap<string, Fed>> {
    await this.settle();
    return this.#session.held();
  }

  /** Replaces state by input name; what is not named stays. @throws SorthError between the steps of a run */
  restore(state: ReadonlyMap<string, Tensor>): void {
    if (!this.settled) throw new UsageError("steps are under way: await trainer.readState() first");
    this.#session.restore(state);
  }

  release(): Promise<void> {
    return this.#session.release();
  }

  /** Whether the session's state is that after the last step told. */
  get settled(): boolean {
    const run = this.#run;
    return !run || run.told === (run.advanced ? run.steps.length : 0);
  }
}
