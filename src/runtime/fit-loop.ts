import { shuffledIndices, stepsPerEpoch } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Mixup } from "../data/mixup.ts";
import type { Step } from "../programs/step.ts";
import { batchOf } from "../programs/step-ports.ts";
import type { EvaluationResult, TrainingEvent } from "./events.ts";
import { type ChosenFit, stepsOf } from "./fit-plan.ts";
import { withEpoch } from "./run-history.ts";
import type { RunLength } from "./run-length.ts";
import { advance, meanOf, type Position, startEpoch } from "./run-position.ts";
import { type PlannedRun, RunReader } from "./run-reader.ts";
import { StepFeeder } from "./step-feeds.ts";
import { addedPenalties, type StepScalars, scalarsOfSteps } from "./step-scalars.ts";
import type { StepResult } from "./step-session.ts";
import type { CheckpointKind } from "./stored-run.ts";
import type { TrainerOptions } from "./trainer-options.ts";
import type { TrainingSession } from "./training-session.ts";

/** Parts that a fit gets from its trainer: the data, the session, and callbacks between steps. */
export interface FitParts {
  readonly step: Step;
  readonly options: TrainerOptions;
  readonly mixup: Mixup | undefined;
  readonly session: TrainingSession;
  readonly length: RunLength;
  /** Where the run stands; the loop advances it. */
  readonly position: Position;
  readonly chosen: ChosenFit;
  readonly train: Dataset;
  readonly validation: Dataset | undefined;
  /** Folder for checkpoints. */
  readonly checkpoint: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly evaluate: (dataset: Dataset) => Promise<EvaluationResult>;
  readonly save: (folder: string, kinds: readonly CheckpointKind[]) => Promise<void>;
  /** Ends the run when a loss is NaN or infinite. */
  readonly stopAt: (loss: number) => Promise<never>;
}

type Events = AsyncGenerator<TrainingEvent, void, undefined>;

/** The loop over epochs and steps behind {@link Trainer.fit}. */
export class FitLoop {
  readonly #run: FitParts;
  readonly #reader: RunReader;
  readonly #batch: number;
  readonly #perEpoch: number;
  /** Steps of all epochs, and the step after which the run ends. */
  readonly #steps: { readonly planned: number; readonly totalSteps: number };
  readonly #first: number;
  readonly #began = performance.now();
  /** The random order of the samples in an epoch. */
  #order: { readonly epoch: number; readonly indices: Uint32Array } | undefined;
  /** Figures of the last validated epoch. */
  #figures: { readonly validation?: EvaluationResult; readonly accuracy?: number } = {};

  /** @throws SorthError when data do not fit the model */
  constructor(run: FitParts) {
    const { ports } = run.step;
    const { seed = 0, normalize, onMessage } = run.options;
    this.#run = run;
    this.#batch = batchOf(ports);
    const batches = run.length.most;
    const { mixup } = run;
    this.#reader = new RunReader(
      (tell) =>
        new StepFeeder(ports, run.train, seed, { batches, normalize, mixup, ...(tell && { onMessage }) }),
    );
    this.#perEpoch = stepsPerEpoch(run.train, this.#batch);
    this.#steps = stepsOf(run.chosen, this.#perEpoch);
    this.#first = run.position.step;
  }

  /** Trains from the run's position to its end. */
  async *events(): Events {
    const { position, checkpoint, signal, save } = this.#run;
    while (this.#goesOn(this.#steps.totalSteps)) {
      yield* this.#epoch();
      if (this.#isBetweenEpochs) yield* this.#endOfEpoch();
    }
    if (checkpoint && !this.#isBetweenEpochs) await save(checkpoint, ["last"]);
    const isEarly = position.step < this.#steps.planned;
    const stopped = signal?.aborted ? "aborted" : isEarly ? "max-steps" : undefined;
    yield { event: "end", ...this.#means(), ...this.#figures, ...(stopped && { stopped }) };
  }

  /** Does the remaining steps of the current epoch. */
  async *#epoch(): Events {
    const { position, session, step, options, length, signal } = this.#run;
    const { totalSteps } = this.#steps;
    const epoch = Math.floor(position.step / this.#perEpoch);
    if (this.#isBetweenEpochs) Object.assign(position, startEpoch);
    while (this.#goesOn(Math.min(totalSteps, (epoch + 1) * this.#perEpoch))) {
      const { feeder, done } = await this.#reader.read(this.#planned(position.step), signal);
      if (signal?.aborted) return;
      const scalars = scalarsOfSteps(step, options, { position, done, epoch, totalSteps });
      const started = performance.now();
      const running = session.run(feeder, scalars);
      if (done < totalSteps) this.#reader.readAhead(() => this.#planned(done));
      const results = await running;
      length.took(performance.now() - started, scalars.length);
      yield* this.#report(results, scalars, done);
      await session.settle();
    }
  }

  /** The run that begins after a step: it ends with the epoch at the latest. */
  #planned(first: number): PlannedRun {
    const { options, length, train } = this.#run;
    const epoch = Math.floor(first / this.#perEpoch);
    if (this.#order?.epoch !== epoch) {
      this.#order = { epoch, indices: shuffledIndices(options.seed ?? 0, epoch, train.size) };
    }
    const end = Math.min(this.#steps.totalSteps, (epoch + 1) * this.#perEpoch);
    const done = Math.min(end, first + length.next);
    const from = (first % this.#perEpoch) * this.#batch;
    const indices = this.#order.indices.subarray(from, from + (done - first) * this.#batch);
    return { first, done, epoch, indices };
  }

  /** Yields the events of the steps of one run; `done` is the number of its last step. */
  async *#report(results: readonly StepResult[], scalars: readonly StepScalars[], done: number): Events {
    const { position, session, step, signal, stopAt } = this.#run;
    const { totalSteps } = this.#steps;
    for (const [i, result] of results.entries()) {
      const { loss, penalty } = result;
      if (!Number.isFinite(loss)) await stopAt(loss);
      const penalties = addedPenalties(step.ports, scalars[i], result);
      advance(position, result, penalties);
      session.tell();
      const penaltyShare = loss === 0 ? 0 : ((scalars[i]?.penaltyWeight ?? 0) * penalty) / loss;
      yield { event: "step", ...this.#progress(done), loss, penalty, penalties, penaltyShare, totalSteps };
      // If the caller read the state meanwhile, the later steps of this run were rolled back: the loop does them again.
      if (signal?.aborted || (i + 1 < results.length && session.settled)) return;
    }
  }

  /** Validates and saves. */
  async *#endOfEpoch(): Events {
    const { position, session, validation, checkpoint, evaluate, save } = this.#run;
    const figures = validation && (await evaluate(validation));
    if (figures) {
      const { accuracy } = figures;
      this.#figures = { validation: figures, ...(accuracy !== undefined && { accuracy }) };
    }
    await session.readState();
    const means = this.#means();
    const { epoch, step, loss } = means;
    const finished = { epoch, step, loss, ...(figures && { validation: figures }) };
    position.history = withEpoch(position.history ?? [], finished);
    const isBest = figures !== undefined && figures.loss < (position.bestLoss ?? Number.POSITIVE_INFINITY);
    if (isBest) position.bestLoss = figures.loss;
    yield { event: "epoch", ...means, ...this.#figures };
    if (!checkpoint) return;
    const kinds: readonly CheckpointKind[] = isBest ? ["last", "best"] : ["last"];
    await save(checkpoint, kinds);
    for (const kind of kinds) yield { event: "checkpoint", ...this.#means(), kind };
  }

  #goesOn(end: number): boolean {
    return this.#run.position.step < end && !this.#run.signal?.aborted;
  }

  get #isBetweenEpochs(): boolean {
    return this.#run.position.step % this.#perEpoch === 0;
  }

  /** The run's progress. @param done - the last step of the ONNX Runtime run; all its steps are done before its first event */
  #progress(done = this.#run.position.step) {
    const { step } = this.#run.position;
    const seconds = (performance.now() - this.#began) / 1000;
    const epoch = Math.max(1, Math.ceil(step / this.#perEpoch));
    return { step, epoch, seconds, samplesPerSecond: ((done - this.#first) * this.#batch) / seconds };
  }

  #means() {
    return { ...this.#progress(), ...meanOf(this.#run.position) };
  }
}
