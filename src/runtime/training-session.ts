import { brokenNumber } from "../analysis/unusable-numbers.ts";
import { UsageError } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { AverageKind } from "../optimizers/averages.ts";
import { allInModel, allInStep, modelPorts } from "../programs/state-layout.ts";
import { type StepPorts, statePorts } from "../programs/step-ports.ts";
import { averageInputs } from "./averages.ts";
import { checkReplaces } from "./ort-session.ts";
import type { Feeder } from "./step-feeds.ts";
import { allGood } from "./step-results.ts";
import type { StepScalars } from "./step-scalars.ts";
import type { Fed, StepResult, StepSession } from "./step-session.ts";

/** A run whose steps are reported one by one. */
interface Run {
  readonly feeder: Feeder;
  readonly steps: readonly StepScalars[];
  /**
   * Whether the session holds the state after all steps. Otherwise a loss is NaN or infinite, and it holds the state before
   * the first step.
   */
  readonly advanced: boolean;
  told: number;
}

/**
 * A session that does several steps in one run but looks like one that does single steps: a caller that asks for the state
 * gets the one after the last reported step. To get it, the session undoes the run and repeats its first steps, with the same
 * bits.
 *
 * Its state has the step's form, which may hold weights in the order in which they are read (state-layout.ts); {@link restore}
 * takes the model's.
 */
export class TrainingSession {
  readonly #session: StepSession;
  readonly #ports: StepPorts;
  readonly #onTakenBack: () => void;
  #run: Run | undefined;
  /** What is asked of the session, one after another: a caller may ask for the state, or evaluate, while a step runs. */
  #turns: Promise<unknown> = Promise.resolve();
  #running = false;
  /** What {@link brokenNumber} found in the state as it is now. */
  #looked: { readonly broken: string | undefined } | undefined;

  /**
   * @param ports - those of the session's step
   * @param onTakenBack - called when steps were undone and have to be repeated
   */
  constructor(session: StepSession, ports: StepPorts, onTakenBack: () => void) {
    this.#session = session;
    this.#ports = ports;
    this.#onTakenBack = onTakenBack;
  }

  /** Does the steps that a feeder holds. The caller must report each of them (`tell`) before the next run. */
  run(feeder: Feeder, steps: readonly StepScalars[]): Promise<readonly StepResult[]> {
    return this.#inTurn(async () => {
      this.#running = true;
      try {
        const results = await this.#session.run(feeder.feeds(steps));
        this.#looked = undefined;
        this.#run = { feeder, steps, advanced: allGood(results), told: 0 };
        return results;
      } finally {
        this.#running = false;
      }
    });
  }

  /** Works when all that was asked before is done. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turns.then(work);
    this.#turns = done.catch(() => {});
    return done;
  }

  /** Counts the next step of the run as reported. */
  tell(): void {
    if (this.#run) this.#run.told += 1;
  }

  /** Brings the state to the last reported step; the caller has to repeat the later steps of the run. */
  settle(): Promise<void> {
    return this.#inTurn(() => this.#settle());
  }

  async #settle(): Promise<void> {
    const run = this.#run;
    if (!run || this.settled) return;
    const { feeder, steps, advanced, told } = run;
    this.#run = undefined;
    if (advanced) {
      this.#session.undo();
      this.#onTakenBack();
    }
    if (told > 0) await this.#session.run(feeder.feeds(steps.slice(0, told)));
    this.#looked = undefined;
  }

  /** The state by input name, valid until the next run; undefined when {@link readState} has to fetch it or settle first. */
  state(): ReadonlyMap<string, Tensor> | undefined {
    return this.settled ? this.#session.state() : undefined;
  }

  /** The same at any time: settles, and fetches it from a device, if necessary. */
  readState(): Promise<ReadonlyMap<string, Tensor>> {
    return this.#inTurn(async () => {
      await this.#settle();
      return this.#session.readState();
    });
  }

  /** The first NaN or infinite number of the state, and its place. Each state is looked through once. */
  async brokenNumber(): Promise<string | undefined> {
    const state = await this.readState();
    // Places are those in the model's form, which is made only for a broken state.
    this.#looked ??= { broken: brokenNumber(state) && brokenNumber(allInModel(this.#ports, state)) };
    return this.#looked.broken;
  }

  /**
   * Works with the state as feeds for forward sessions of the same backend: in the step's form where it lies on a device. Steps
   * that are asked for meanwhile wait, because they overwrite it.
   * @param average - the slot to take for each parameter, if not the parameter itself
   */
  withHeld<T>(
    average: AverageKind | undefined,
    work: (state: ReadonlyMap<string, Fed>) => Promise<T>,
  ): Promise<T> {
    return this.#inTurn(async () => {
      await this.#settle();
      return work(await this.#held(average));
    });
  }

  async #held(average: AverageKind | undefined): Promise<ReadonlyMap<string, Fed>> {
    // A forward session reads no other slots.
    const parameters = this.#ports.parameters.map((port) => ({
      ...port,
      slots: new Map([...port.slots].filter(([slot]) => slot === average)),
    }));
    const ports = { ...this.#ports, parameters };
    const state: ReadonlyMap<string, Fed> =
      this.#session.held?.() ?? allInModel(ports, await this.#session.readState());
    const inputs = averageInputs(ports, average);
    return new Map([...state].map(([input, own]) => [input, state.get(inputs.get(input) ?? input) ?? own]));
  }

  /** Replaces state by input name; tensors that are not named keep their numbers. @throws SorthError between the steps of a run */
  restore(state: ReadonlyMap<string, Tensor>): void {
    if (!this.settled || this.#running) {
      throw new UsageError("steps are under way: await trainer.readState() first");
    }
    for (const { input, type, shape } of statePorts(modelPorts(this.#ports))) {
      const tensor = state.get(input);
      if (tensor) checkReplaces(tensor, { name: input, type, dims: shape });
    }
    this.#looked = undefined;
    this.#session.restore(allInStep(this.#ports, state));
  }

  /** Frees the session when the step that it runs is done. */
  release(): Promise<void> {
    return this.#inTurn(() => this.#session.release());
  }

  /** Whether the session holds the state after the last reported step. */
  get settled(): boolean {
    const run = this.#run;
    return !run || run.told === (run.advanced ? run.steps.length : 0);
  }
}
