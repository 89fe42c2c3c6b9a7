import { epochOrder, stepsPerEpoch } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Mixup } from "../data/mixup.ts";
import { given } from "../given.ts";
import type { Step } from "../programs/step.ts";
import { batchOf } from "../programs/step-ports.ts";
import type { ScheduledRun } from "../schedules/schedule.ts";
import type { EpochDecision } from "./best-epochs.ts";
import { EpochClock } from "./epoch-clock.ts";
import type { CheckpointKind, EndEvent, EvaluationResult, TrainingEvent } from "./events.ts";
import { type ChosenFit, stepsOf } from "./fit-plan.ts";
import type { FitBuckets } from "./opened-step.ts";
import { type RunHistory, withEpoch } from "./run-history.ts";
import type { RunLength } from "./run-length.ts";
import { advance, meanOf, type Position, startEpoch } from "./run-position.ts";
import { type PlannedRun, RunReader } from "./run-reader.ts";
import { type Feeder, StepFeeder } from "./step-feeds.ts";
import { isGood } from "./step-results.ts";
import {
  addedPenalties,
  namedLosses,
  type StepScalars,
  scalarsOfSteps,
  scheduledRun,
} from "./step-scalars.ts";
import type { StepResult } from "./step-session.ts";
import { type TimedOptions, withChosenWeight } from "./timed-options.ts";
import type { TrainingSession } from "./training-session.ts";

/** Parts that a fit gets from its trainer: the data, the session, and callbacks between steps. */
interface FitParts {
  readonly step: Step;
  readonly options: TimedOptions;
  readonly mixup: Mixup | undefined;
  readonly session: TrainingSession;
  /** Texts of like lengths in batches of their own; undefined without buckets. */
  readonly buckets: FitBuckets | undefined;
  readonly length: RunLength;
  /** Where the run stands; the loop advances it. */
  readonly position: Position;
  readonly chosen: ChosenFit;
  readonly train: Dataset;
  readonly validation: Dataset | undefined;
  /** The figures that a validation computes. */
  readonly figures: ScheduledRun["figures"];
  /** Folder for checkpoints. */
  readonly checkpoint: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly evaluate: (dataset: Dataset) => Promise<EvaluationResult>;
  /** What follows from a finished epoch; undefined where only the lowest validation loss counts. */
  readonly decide: ((history: RunHistory) => EpochDecision) | undefined;
  /** Whether early stopping may have ended the run before this fit: its options are those of the resumed run. */
  readonly goesOn: boolean;
  readonly save: (folder: string, kinds: readonly CheckpointKind[]) => Promise<void>;
  readonly remove: (folder: string, kinds: readonly CheckpointKind[]) => Promise<void>;
  /** Keeps the weight of all penalties that a run with a share of them begins with. */
  readonly choose: (weight: number) => void;
  /** Ends the run when a loss is NaN or infinite, or its scale too small; without a result: when the state is not finite. */
  readonly stopAt: (result?: StepResult) => Promise<never>;
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
  #clock = new EpochClock();
  /** Those of the run, with the weight that is chosen at its first batch. */
  #options: FitParts["options"];
  /** The learning rate of the last step. */
  #learningRate = 0;
  /** Why the run ends before its last step. */
  #stopped: "early" | "callback" | undefined;
  /** Whether the trainer was released, so that there is no session any more. */
  #left = false;

  /** @throws SorthError when data do not fit the model */
  constructor(run: FitParts) {
    const { ports } = run.step;
    const { seed = 0, normalize, onMessage } = run.options;
    this.#run = run;
    this.#options = run.options;
    this.#batch = batchOf(ports);
    const batches = run.length.most;
    const { mixup } = run;
    this.#reader = new RunReader((tell) => {
      const how = { batches, normalize, mixup, ...(tell && { onMessage }) };
      return run.buckets?.feeder(seed, how) ?? new StepFeeder(ports, run.train, seed, how);
    });
    this.#perEpoch = stepsPerEpoch(run.train, this.#batch);
    this.#steps = stepsOf(run.chosen, this.#perEpoch);
    this.#first = run.position.step;
    // A schedule that this run cannot follow is refused before the first step.
    const first = { position: run.position, done: this.#first + 1, epoch: 0, ...this.#steps };
    scalarsOfSteps(run.step, run.options, { ...first, run: this.scheduled });
  }

  /** What the run's schedules may look at. */
  get scheduled(): ScheduledRun {
    const { position, figures } = this.#run;
    return scheduledRun(position, this.#perEpoch, figures);
  }

  /** Ends the run after the current step. */
  stop(): void {
    this.#stopped = "callback";
  }

  /** Ends the run after the current step, without whatever needs a session. */
  leave(): void {
    this.#left = true;
  }

  /** Trains from the run's position to its end. */
  async *events(): Events {
    try {
      yield* this.#allEvents();
    } catch (error) {
      if (!this.#left) throw error;
    } finally {
      this.#run.train.close?.();
    }
    const stopped = this.#whyStopped;
    yield { event: "end", ...this.#means(), ...this.#figures, ...(stopped && { stopped }) };
  }

  async *#allEvents(): Events {
    const { position, checkpoint, save, options, step, chosen } = this.#run;
    const { checkActs, earlyEnd, lateStarts } = await import("./late-starts.ts");
    checkActs(options, step.ports);
    const late = lateStarts(options, this.#steps.totalSteps, this.scheduled);
    for (const text of [...earlyEnd(chosen, this.#steps.planned), ...late]) options.onMessage?.(text);
    this.#stopWhereStopped();
    while (this.#goesOn(this.#steps.totalSteps)) {
      yield* this.#epoch();
      // An abort may come before the first step of an epoch.
      if (this.#isBetweenEpochs && position.counted > 0 && !this.#left) yield* this.#endOfEpoch();
    }
    if (this.#left) return;
    if (this.#whyStopped === "early") position.endedEarly = true;
    if (!this.#isBetweenEpochs) await this.#checkState();
    if (checkpoint && (!this.#isBetweenEpochs || position.endedEarly)) await save(checkpoint, ["last"]);
  }

  /** A run that was interrupted at the epoch where early stopping ends it ends there; one that had ended goes on. */
  #stopWhereStopped(): void {
    const { position, decide, goesOn } = this.#run;
    const { history = [], endedEarly } = position;
    delete position.endedEarly;
    if (goesOn && !endedEarly && this.#isBetweenEpochs && decide?.(history).isOver) this.#stopped = "early";
  }

  get #whyStopped(): EndEvent["stopped"] {
    if (this.#run.signal?.aborted || this.#left) return "aborted";
    const { step } = this.#run.position;
    if (this.#stopped && step < this.#steps.totalSteps) return this.#stopped;
    return step < this.#steps.planned ? "max-steps" : undefined;
  }

  /** Does the remaining steps of the current epoch. */
  async *#epoch(): Events {
    const { position, session, step, length, signal } = this.#run;
    const { totalSteps } = this.#steps;
    const epoch = Math.floor(position.step / this.#perEpoch);
    if (this.#isBetweenEpochs) Object.assign(position, startEpoch);
    this.#clock = new EpochClock();
    while (this.#goesOn(Math.min(totalSteps, (epoch + 1) * this.#perEpoch))) {
      const { feeder, done } = await this.#clock.samples(
        this.#reader.read(this.#planned(position.step), signal),
      );
      if (signal?.aborted) return;
      const where = { position, done, epoch, totalSteps, run: this.scheduled };
      await this.#chooseWeight(feeder, where);
      const scalars = scalarsOfSteps(step, this.#options, where);
      const started = performance.now();
      const running = session.run(feeder, scalars);
      if (done < totalSteps) this.#reader.readAhead(() => this.#planned(done));
      const results = await running;
      length.took(performance.now() - started, scalars.length);
      yield* this.#report(results, scalars, done);
      await session.settle();
    }
    this.#clock.endSteps();
  }

  /** At the first batch of a run with a share of penalties: chooses their weight. */
  async #chooseWeight(feeder: Feeder, where: Parameters<typeof scalarsOfSteps>[2]): Promise<void> {
    const { step, session, choose } = this.#run;
    const { penaltyShare: share } = this.#options;
    if (share === undefined) return;
    const { shareText, weightForShare } = await import("./penalty-share.ts");
    const scalars = scalarsOfSteps(step, this.#options, where);
    const chosen = await weightForShare(session, feeder, scalars, share);
    this.#options = withChosenWeight(this.#options, chosen.weight);
    choose(chosen.weight);
    this.#options.onMessage?.(shareText(chosen, share));
  }

  /** The run that begins after a step: it ends with the epoch at the latest. */
  #planned(first: number): PlannedRun {
    const { options, length, train, buckets } = this.#run;
    const epoch = Math.floor(first / this.#perEpoch);
    if (this.#order?.epoch !== epoch) {
      const { seed = 0 } = options;
      const indices = buckets?.order(seed, epoch) ?? epochOrder(train, seed, epoch);
      this.#order = { epoch, indices };
    }
    const end = Math.min(this.#steps.totalSteps, (epoch + 1) * this.#perEpoch);
    const done = Math.min(end, first + length.next);
    const from = (first % this.#perEpoch) * this.#batch;
    const indices = this.#order.indices.subarray(from, from + (done - first) * this.#batch);
    return { first, done, epoch, indices };
  }

  /** Yields the events of the steps of one run; `done` is the number of its last step. */
  async *#report(results: readonly StepResult[], scalars: readonly StepScalars[], done: number): Events {
    const { position, session, step, stopAt } = this.#run;
    const { totalSteps } = this.#steps;
    for (const [i, result] of results.entries()) {
      const { loss, penalty } = result;
      if (!isGood(result)) await stopAt(result);
      const penalties = addedPenalties(step.ports, scalars[i], result);
      const losses = namedLosses(step.ports, result);
      advance(position, result, penalties, losses);
      session.tell();
      const penaltyShare = loss === 0 ? 0 : ((scalars[i]?.penaltyWeight ?? 0) * penalty) / loss;
      const { learningRate = 0 } = scalars[i] ?? {};
      this.#learningRate = learningRate;
      const added = { penalties, ...(losses && { losses }) };
      const figures = { loss, penalty, ...added, penaltyShare, learningRate, ...result.scaling, totalSteps };
      yield { event: "step", ...this.#progress(done), ...figures };
      // If the caller read the state meanwhile, the later steps of this run were rolled back: the loop does them again.
      if (this.#isOver || (i + 1 < results.length && session.settled)) return;
    }
  }

  /** Validates and saves. */
  async *#endOfEpoch(): Events {
    const { position, validation, checkpoint, evaluate, decide, save, remove } = this.#run;
    await this.#checkState();
    const figures = validation && (await evaluate(validation));
    const means = this.#means();
    const { epoch, step, loss } = means;
    const finished = { epoch, step, loss, ...(figures && { validation: figures }) };
    position.history = withEpoch(position.history ?? [], finished);
    if (figures) position.validated = figures;
    const isLowest = figures !== undefined && figures.loss < (position.bestLoss ?? Number.POSITIVE_INFINITY);
    if (isLowest) position.bestLoss = figures.loss;
    const { isBest, isKept, fallen, isOver } = decide?.(position.history) ?? { isBest: isLowest };
    const kinds: readonly CheckpointKind[] = [
      ...(isKept ? [`epoch-${epoch}` as const] : []),
      ...(isBest ? ["best" as const] : []),
      "last",
    ];
    if (checkpoint) {
      // The last one comes last: a run that is cut off before it repeats the epoch.
      await save(checkpoint, kinds);
      await remove(checkpoint, fallen?.map((one) => `epoch-${one}` as const) ?? []);
    }
    const { seconds: epochSeconds, waiting } = this.#clock;
    const learningRate = this.#learningRate;
    yield { event: "epoch", ...means, ...this.#figures, learningRate, epochSeconds, waiting };
    if (checkpoint) for (const kind of kinds) yield { event: "checkpoint", ...this.#means(), kind };
    if (isOver) this.#stopped ??= "early";
  }

  /** A step whose loss is finite may still leave NaN in the state, which must not be validated, saved or exported. */
  async #checkState(): Promise<void> {
    const { session, stopAt } = this.#run;
    if ((await session.brokenNumber()) !== undefined) await stopAt();
  }

  #goesOn(end: number): boolean {
    return this.#run.position.step < end && !this.#isOver;
  }

  /** Whether the run ends after the current step. */
  get #isOver(): boolean {
    return this.#run.signal?.aborted || this.#left || this.#stopped !== undefined;
  }

  get #isBetweenEpochs(): boolean {
    return this.#run.position.step % this.#perEpoch === 0;
  }

  /** Figures of the last validated epoch, also of one before the run was resumed. */
  get #figures(): Pick<EndEvent, "validation" | "accuracy"> {
    const { validation, position } = this.#run;
    const { validated } = position;
    return validation && validated
      ? { validation: validated, ...given({ accuracy: validated.accuracy }) }
      : {};
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
