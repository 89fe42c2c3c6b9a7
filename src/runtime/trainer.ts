import { shuffledIndices, stepsPerEpoch } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { fedColumns } from "../data/feeds.ts";
import { chooseNormalization } from "../data/normalize.ts";
import { NumericError, UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import { adamw } from "../optimizers/adamw.ts";
import { encodeTensors } from "../programs/checkpoint.ts";
import { withWeights } from "../programs/export.ts";
import { initialTensors } from "../programs/initial-state.ts";
import type { RescuedModel } from "../programs/rescue.ts";
import { buildStep, type Step } from "../programs/step.ts";
import { stepLoop } from "../programs/step-loop.ts";
import { batchOf } from "../programs/step-ports.ts";
import { checkWholeState, sessionTensors, stateOf, type TrainerState } from "../programs/trainer-state.ts";
import { fedPorts } from "./batch-feeds.ts";
import type { EvaluationResult, TrainingEvent } from "./events.ts";
import {
  type ChosenFit,
  chosenFit,
  type FitOptions,
  type FitPlan,
  planOf,
  splitOf,
  stepsOf,
} from "./fit-plan.ts";
import { OwnEvaluation } from "./own-evaluation.ts";
import { formerState, type RescueOptions, rescuedOptions } from "./rescue.ts";
import { RunLength } from "./run-length.ts";
import { advance, meanOf, type Position, startEpoch, startPosition } from "./run-position.ts";
import { StepFeeder } from "./step-feeds.ts";
import { addedPenalties, scalarsOfSteps } from "./step-scalars.ts";
import type { Backend, StepSession } from "./step-session.ts";
import { optionsToText } from "./stored-options.ts";
import { type CheckpointKind, readRun, resumedOptions, type StoredRun } from "./stored-run.ts";
import { backendNamed, checkTrainerNumbers, type TrainerOptions } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";
import { TrainingSession } from "./training-session.ts";

/**
 * Trains a model on stock ONNX Runtime: one run of the step graph per batch.
 * Same model, options, data, seed and thread count give the same bits.
 *
 * @example
 * const trainer = await Trainer.create(model, { objective: crossEntropy(), penalties: [{ penalty: som() }], batch: 64 });
 * for await (const event of trainer.fit(train, { epochs: 2, validation: 0.1 })) console.log(event);
 * await writeModel(trainer.export(), "trained.onnx");
 */
export class Trainer {
  readonly step: Step;
  readonly #model: Model;
  #options: TrainerOptions;
  /** Whether data have decided what becomes of pixels. */
  #looked = false;
  readonly #runtime: TrainerRuntime;
  readonly #backend: Backend;
  readonly #session: TrainingSession;
  readonly #length: RunLength;
  readonly #evaluation: OwnEvaluation;
  #takenOver: Partial<TrainerState> = {};
  /** Where it goes back to when nothing else is left: a checkpoint that was read. */
  #start: Pick<StoredRun, "tensors" | "position"> | undefined;
  /** How the run that it resumes was fitted. */
  #stored: FitPlan | undefined;
  /** How it is fitted; `plan` is made when it is first kept. */
  #fitted: { readonly dataset: Dataset; readonly chosen: ChosenFit; plan?: FitPlan } | undefined;
  /** The folder that holds a state of this fit. */
  #savedTo: string | undefined;
  #position: Position = startPosition();

  private constructor(
    model: Model,
    options: TrainerOptions,
    runtime: TrainerRuntime,
    backend: Backend,
    step: Step,
    session: StepSession,
    length: RunLength,
  ) {
    this.#model = model;
    this.#options = options;
    this.#runtime = runtime;
    this.#backend = backend;
    this.step = step;
    this.#session = new TrainingSession(session, () => length.interrupted());
    this.#length = length;
    this.#evaluation = new OwnEvaluation(model, options, {
      ports: step.ports,
      probe: runtime.probe,
      backend,
    });
  }

  /** Builds the step graph of a model and opens its session. @throws SorthError as buildStep does. */
  static async create(model: Model, options: TrainerOptions, runtime: TrainerRuntime): Promise<Trainer> {
    checkTrainerNumbers(options);
    const optimizer = options.optimizer ?? adamw();
    const backend = backendNamed(options.backend, runtime.backends);
    await backend.checkDevice?.();
    const lower = await backend.lowering();
    const single = await buildStep(
      model,
      { ...options, optimizer, ...(lower ? { lower } : {}) },
      runtime.probe,
    );
    const length = new RunLength(options.stepsPerRun ?? "auto", backend, single.ports);
    const step = length.most > 1 ? stepLoop(single) : single;
    const session = await backend.openStep(step, options);
    return new Trainer(model, options, runtime, backend, step, session, length);
  }

  /**
   * Goes on from a checkpoint folder, bit for bit where the run stood. {@link fit} then needs no options: epochs,
   * validation and the rest are those that the run was begun with.
   * @param overrides - what the folder cannot hold (functions, an optimizer or loss of your own), or what is to be changed
   * @throws UsageError for what has to be given again; SorthError for a folder that holds no whole run
   */
  static async resume(
    folder: string,
    overrides: Partial<TrainerOptions>,
    runtime: TrainerRuntime,
  ): Promise<Trainer> {
    const checkpoint = await readRun(folder, "last", runtime);
    const model = await runtime.files.readModel(folder);
    const options = resumedOptions(checkpoint.options, overrides, runtime);
    const trainer = await Trainer.create(model, options, runtime);
    try {
      trainer.#goTo(checkpoint);
    } catch (error) {
      await trainer.release();
      throw error;
    }
    trainer.#stored = checkpoint.fit;
    return trainer;
  }

  /**
   * Goes on where a run of ONNX Runtime's training API stood: with its optimizer, learning rate and optimizer state, unless
   * the options say otherwise. A state that does not fit the optimizer is left out, and `onMessage` hears of it.
   * @param run - from {@link rescueModel}, or from files by {@link rescueFiles}
   * @throws UsageError for options that the artifacts decide: the loss, and which weights are trained and shared
   *
   * @example
   * const run = rescueModel(await readModel("training_model.onnx"), await readCheckpoint("checkpoint"));
   * const trainer = await Trainer.rescue(run, { batch: 16 });
   * for await (const event of trainer.fit(data, { epochs: 3 })) console.log(event);
   * await writeModel(rescuedInference(trainer.export()), "trained.onnx");
   */
  static async rescue(run: RescuedModel, options: RescueOptions, runtime: TrainerRuntime): Promise<Trainer> {
    const trainer = await Trainer.create(run.model, rescuedOptions(run, options), runtime);
    const state = formerState(run, trainer.step.ports);
    if (state) trainer.takeOver(state);
    else {
      options.onMessage?.("the optimizer starts without a state: the checkpoint holds that of another one");
    }
    return trainer;
  }

  /**
   * Goes to a checkpoint of this run: parameters, optimizer state and position are what they were when it was saved.
   * @throws SorthError where the folder has none, or that of another run
   *
   * @example
   * await trainer.load("run", "best");
   * await writeModel(trainer.export(), "best.onnx");
   */
  async load(folder: string, kind: CheckpointKind = "last"): Promise<void> {
    await this.#session.readState();
    this.#goTo(await readRun(folder, kind, this.#runtime));
  }

  #goTo({ where, tensors, position }: StoredRun): void {
    checkWholeState(this.step.ports, tensors, where);
    this.#session.restore(tensors);
    this.#position = { ...position };
    this.#start = { tensors, position };
  }

  /** Where it trains: `cpu`, `wasm`, `webgpu` … */
  get backend(): string {
    return this.#backend.name;
  }

  /** The model that is trained, with the weights it began with. */
  get model(): Model {
    return this.#model;
  }

  /** How it is trained. */
  get options(): TrainerOptions {
    return this.#options;
  }

  /**
   * Whether the state is that of the last event without doing steps again: not between the steps of one run
   * ({@link TrainerOptions.stepsPerRun}). Who measures often does it then.
   */
  get settled(): boolean {
    return this.#session.settled;
  }

  /** Steps done so far. */
  get steps(): number {
    return this.#position.step;
  }

  /**
   * Trains, one event after another. Ends with an `end` event, also when aborted.
   * @throws SorthError when data do not fit the model, or the loss is no longer a number (the last good state is kept)
   */
  async *fit(dataset: Dataset, options: FitOptions = {}): AsyncGenerator<TrainingEvent, void, undefined> {
    let failed = true;
    try {
      yield* this.#train(dataset, options);
      failed = false;
    } finally {
      // Also when the caller leaves the loop: `state` and `export` then have the numbers at hand. A lost device has told already.
      await (failed ? this.#session.readState().catch(() => {}) : this.#session.readState());
    }
  }

  async *#train(dataset: Dataset, options: FitOptions): AsyncGenerator<TrainingEvent, void, undefined> {
    const { seed = 0 } = this.#options;
    const { ports } = this.step;
    const batch = batchOf(ports);
    const chosen = chosenFit(dataset, options, this.#stored);
    this.#fitted = { dataset, chosen };
    this.#savedTo = undefined;
    const { train, validation } = splitOf(dataset, chosen, seed);
    this.#chooseNormalization(train);
    for (const data of [train, validation]) if (data) await this.#evaluation.check(data);
    const { normalize, onMessage } = this.#options;
    const feeder = new StepFeeder(ports, train, seed, { batches: this.#length.most, normalize, onMessage });
    const perEpoch = stepsPerEpoch(train, batch);
    const { planned, totalSteps } = stepsOf(chosen, perEpoch);
    const position = this.#position;
    const first = position.step;
    const began = performance.now();
    let last: EvaluationResult | undefined;
    // Of a run of several steps, all are done when the first is told.
    const progress = (done = position.step) => {
      const seconds = (performance.now() - began) / 1000;
      const epoch = Math.max(1, Math.ceil(position.step / perEpoch));
      return { step: position.step, epoch, seconds, samplesPerSecond: ((done - first) * batch) / seconds };
    };
    const sofar = () => ({ ...progress(), ...meanOf(position) });
    const figures = (result: EvaluationResult | undefined) => ({
      ...(result ? { validation: result } : {}),
      ...(result?.accuracy === undefined ? {} : { accuracy: result.accuracy }),
    });

    while (position.step < totalSteps && !options.signal?.aborted) {
      const epoch = Math.floor(position.step / perEpoch);
      const firstStep = position.step % perEpoch;
      if (firstStep === 0) Object.assign(position, startEpoch);
      const order = shuffledIndices(seed, epoch, train.size);
      const end = Math.min(totalSteps, (epoch + 1) * perEpoch);
      while (position.step < end && !options.signal?.aborted) {
        const done = Math.min(end, position.step + this.#length.next);
        const from = (position.step % perEpoch) * batch;
        feeder.fill(order.subarray(from, from + (done - position.step) * batch));
        const steps = scalarsOfSteps(this.step, this.#options, { position, done, epoch, totalSteps });
        const started = performance.now();
        const results = await this.#session.run(feeder, steps);
        this.#length.took(performance.now() - started, steps.length);
        for (const [i, result] of results.entries()) {
          const { loss, penalty } = result;
          if (!Number.isFinite(loss)) await this.#stopAtNaN(loss, options);
          const penalties = addedPenalties(ports, steps[i], result);
          advance(position, result, penalties);
          this.#session.tell();
          const penaltyShare = loss === 0 ? 0 : ((steps[i]?.penaltyWeight ?? 0) * penalty) / loss;
          yield { event: "step", ...progress(done), loss, penalty, penalties, penaltyShare, totalSteps };
          // Whoever asked for the state meanwhile has taken the steps behind this one back.
          if (options.signal?.aborted || (i + 1 < results.length && this.#session.settled)) break;
        }
        await this.#session.settle();
      }
      if (position.step % perEpoch === 0) {
        last = validation && (await this.evaluate(validation));
        await this.#session.readState();
        yield { event: "epoch", ...sofar(), ...figures(last) };
        const improved = last !== undefined && last.loss < (position.bestLoss ?? Number.POSITIVE_INFINITY);
        if (improved && last) position.bestLoss = last.loss;
        if (options.checkpoint) {
          await this.save(options.checkpoint, improved ? ["last", "best"] : ["last"]);
          for (const kind of improved ? (["last", "best"] as const) : (["last"] as const)) {
            yield { event: "checkpoint", ...sofar(), kind };
          }
        }
      }
    }
    if (options.checkpoint && position.step % perEpoch !== 0) await this.save(options.checkpoint);
    const aborted = options.signal?.aborted === true;
    const stopped = aborted ? "aborted" : position.step < planned ? "max-steps" : undefined;
    yield { event: "end", ...sofar(), ...figures(last), ...(stopped ? { stopped } : {}) };
  }

  /**
   * Parameters, running statistics and optimizer state as they are now: copies.
   * @throws SorthError between the steps of an epoch, when a session may hold newer numbers: await {@link readState} first
   */
  state(): TrainerState {
    const state = this.#session.state();
    if (!state) {
      throw new UsageError(
        `the state of step ${this.steps} is not at hand: await trainer.readState() first, or ask after an epoch`,
      );
    }
    return stateOf(this.step.ports, state, (this.#position.before ?? 0) + this.steps);
  }

  /** {@link state} at any time: fetched from a device, steps of a longer run taken back, where that is needed. */
  async readState(): Promise<TrainerState> {
    await this.#session.readState();
    return this.state();
  }

  /**
   * Takes over the state of another run of the same parameters; what it does not name stays.
   * @throws SorthError for a parameter, statistic or slot that this run does not have, or of another shape
   */
  takeOver(state: Partial<TrainerState>): void {
    this.#session.restore(sessionTensors(this.step.ports, state));
    this.#takenOver = { ...this.#takenOver, ...state };
    if (state.updates !== undefined) this.#position.before = state.updates - this.#position.step;
  }

  /**
   * Loss and accuracy over a whole dataset, in inference form, every sample counted once. A model that holds its loss has
   * an accuracy, and every sample counted, where that loss is a cross-entropy; of another, samples that fill no batch are
   * left out, and `onMessage` hears of it.
   */
  async evaluate(
    dataset: Dataset,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<EvaluationResult> {
    this.#chooseNormalization(dataset);
    const { normalize } = this.#options;
    return this.#evaluation.run(dataset, () => this.#session.held(), { ...options, normalize });
  }

  /**
   * The model with the weights it has now, in inference form; an injected block is left out unless `keepPenalty` is set.
   * @throws SorthError as {@link state} does
   */
  export(options: { readonly keepPenalty?: boolean } = {}): Model {
    const { parameters, statistics } = this.state();
    return withWeights(this.#model, new Map([...parameters, ...statistics]), {
      ...this.#options,
      ...options,
    });
  }

  /**
   * Steps that {@link fit} would still do on a dataset; 0 where the run is done.
   * @throws UsageError as {@link fit} does
   */
  stepsLeft(dataset: Dataset, options: FitOptions = {}): number {
    const chosen = chosenFit(dataset, options, this.#stored);
    const { train } = splitOf(dataset, chosen, this.#options.seed ?? 0);
    const { totalSteps } = stepsOf(chosen, stepsPerEpoch(train, batchOf(this.step.ports)));
    return Math.max(0, totalSteps - this.#position.step);
  }

  /** Saves the run so that {@link Trainer.resume} goes on with it: `model.onnx` (and its external data), `last.safetensors`. */
  async save(folder: string, kinds: readonly CheckpointKind[] = ["last"]): Promise<void> {
    const { files } = this.#runtime;
    await files.writeModel(folder, this.#model);
    const plan = this.#plan();
    const { parameters, statistics } = this.step.ports;
    const chunks = encodeTensors(await this.#session.readState(), {
      options: optionsToText({ ...this.#options, backend: this.backend }),
      position: JSON.stringify(this.#position),
      ...(plan && { fit: JSON.stringify(plan) }),
      weights: JSON.stringify([...parameters, ...statistics].map(({ input }) => input)),
    });
    for (const kind of kinds) await files.write(folder, `${kind}.safetensors`, chunks);
    this.#savedTo = folder;
  }

  /** Frees the sessions; the trainer cannot be used afterwards. */
  async release(): Promise<void> {
    await this.#evaluation.release();
    await this.#session.release();
  }

  /** How it is fitted, or was, where it is resumed and no fit has begun. */
  #plan(): FitPlan | undefined {
    const fitted = this.#fitted;
    if (!fitted) return this.#stored;
    fitted.plan ??= planOf(fitted.dataset, fitted.chosen);
    return fitted.plan;
  }

  /** The first data of a run decide what becomes of pixels. */
  #chooseNormalization(dataset: Dataset): void {
    if (this.#options.normalize !== undefined || this.#looked) return;
    this.#looked = true;
    const fed = fedColumns(fedPorts(this.step.ports), dataset);
    const { normalize, remarks } = chooseNormalization(dataset.name, fed, () => graphOf(this.#model));
    for (const remark of remarks) this.#options.onMessage?.(remark);
    if (normalize !== undefined) this.#options = { ...this.#options, normalize };
  }

  /** The loss of a step is no number: the state before it is kept if it is finite, else the last checkpoint's. */
  async #stopAtNaN(loss: number, { checkpoint }: FitOptions): Promise<never> {
    const step = this.steps + 1;
    const finite = [...(await this.#session.readState()).values()].every(({ data }) =>
      (data as Float32Array).every(Number.isFinite),
    );
    const advice =
      "lower the learning rate or the penalty weight, and look for NaN or huge numbers in the data";
    if (finite) {
      if (checkpoint) await this.save(checkpoint);
      throw new NumericError(
        `the loss became ${loss} at step ${step}; the state after step ${step - 1} is kept${checkpoint ? ` in ${checkpoint}` : ""}: ${advice}`,
      );
    }
    const kept =
      checkpoint !== undefined && this.#savedTo === checkpoint
        ? `; ${checkpoint} holds the last good state`
        : "";
    if (!kept && this.#start) {
      this.#session.restore(this.#start.tensors);
      this.#position = { ...this.#start.position };
    } else if (!kept) {
      this.#session.restore(initialTensors(this.step));
      this.#position = startPosition();
      this.takeOver(this.#takenOver);
    }
    throw new NumericError(
      `the loss became ${loss} at step ${step}, since the parameters of step ${step - 1} were no numbers any more${kept || `; the state ${this.#start ? `of step ${this.steps}` : "at the beginning"} was restored`}: ${advice}`,
    );
  }
}
