import { shuffledIndices, splitValidation, stepsPerEpoch } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { SorthError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import { adamw } from "../optimizers/adamw.ts";
import { decodeTensors, encodeTensors } from "../training/checkpoint.ts";
import { buildEvaluation, type EvaluationGraph } from "../training/evaluation.ts";
import { withWeights } from "../training/export.ts";
import { initialTensors } from "../training/initial-state.ts";
import { buildStep, type Step } from "../training/step.ts";
import { stepLoop } from "../training/step-loop.ts";
import { sessionTensors, stateOf, type TrainerState } from "../training/trainer-state.ts";
import { checkDataset, evaluate, remarkOnRest } from "./evaluator.ts";
import type { EvaluationResult, TrainingEvent } from "./events.ts";
import { RunLength } from "./run-length.ts";
import { advance, meanOf, type Position, startEpoch, startPosition } from "./run-position.ts";
import { StepFeeder } from "./step-feeds.ts";
import { addedPenalties, scalarsOfSteps } from "./step-scalars.ts";
import type { Backend, ForwardSession, StepSession } from "./step-session.ts";
import { backendNamed, optionsFromText, optionsToText, type TrainerOptions } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";
import { TrainingSession } from "./training-session.ts";

/** Options of {@link Trainer.fit}. */
export interface FitOptions {
  /** Passes over the data; default 1. */
  readonly epochs?: number;
  /** Stops after this many steps in all. */
  readonly maxSteps?: number;
  /** Samples held out for validation: a share of the dataset (0 to 1), or a dataset of its own. */
  readonly validation?: number | Dataset;
  /** Folder for the checkpoints `last` (each epoch and at the end) and `best` (lowest validation loss). */
  readonly checkpoint?: string;
  /** Ends the run after the current step; the state stays. */
  readonly signal?: AbortSignal;
}

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
  readonly #options: TrainerOptions;
  readonly #runtime: TrainerRuntime;
  readonly #backend: Backend;
  readonly #session: TrainingSession;
  readonly #length: RunLength;
  #forward: { session: ForwardSession; graph: EvaluationGraph } | undefined;
  #takenOver: Partial<TrainerState> = {};
  /** What was said of evaluations: the same is said once. */
  readonly #remarks = new Set<string>();
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
  }

  /** Builds the step graph of a model and opens its session. @throws SorthError as buildStep does. */
  static async create(model: Model, options: TrainerOptions, runtime: TrainerRuntime): Promise<Trainer> {
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
   * Goes on from a checkpoint folder, bit for bit where the run stood.
   * @param overrides - what the folder cannot hold (functions), or what is to be changed
   */
  static async resume(
    folder: string,
    overrides: Partial<TrainerOptions>,
    runtime: TrainerRuntime,
  ): Promise<Trainer> {
    const bytes = await runtime.files.read(folder, "last.safetensors");
    const { tensors, metadata } = decodeTensors(bytes, `${folder}/last.safetensors`);
    const { options: text, position } = metadata;
    if (text === undefined || position === undefined) {
      throw new SorthError(`${folder}/last.safetensors holds no training run`);
    }
    const model = await runtime.files.readModel(folder);
    const trainer = await Trainer.create(model, optionsFromText(text, overrides), runtime);
    trainer.#session.restore(tensors);
    trainer.#position = JSON.parse(position) as Position;
    return trainer;
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
    const batch = ports.inputs[0]?.shape[0];
    if (!batch) throw new SorthError("the model's first input has no batch dimension");
    const { train, validation } = this.#split(dataset, options);
    const evaluation = await this.#evaluation();
    for (const data of [train, validation]) {
      if (data) checkDataset(data, evaluation.graph, this.#options.objective);
    }
    const feeder = new StepFeeder(ports, train, seed, this.#length.most);
    const perEpoch = stepsPerEpoch(train, batch);
    const planned = (options.epochs ?? 1) * perEpoch;
    const totalSteps = Math.min(planned, options.maxSteps ?? planned);
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
      throw new SorthError(
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
    const { session, graph } = await this.#evaluation();
    const { ports } = this.step;
    checkDataset(dataset, graph, this.#options.objective);
    const remark = remarkOnRest(dataset, { graph, ports });
    if (remark !== undefined && !this.#remarks.has(remark)) this.#options.onMessage?.(remark);
    if (remark !== undefined) this.#remarks.add(remark);
    const state = await this.#session.held();
    return evaluate(dataset, { session, graph, ports, state, signal: options.signal });
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

  /** Saves the run so that {@link Trainer.resume} goes on with it: `model.onnx` (and its external data), `last.safetensors`. */
  async save(folder: string, kinds: readonly ("last" | "best")[] = ["last"]): Promise<void> {
    const { files } = this.#runtime;
    await files.writeModel(folder, this.#model);
    const chunks = encodeTensors(await this.#session.readState(), {
      options: optionsToText(this.#options),
      position: JSON.stringify(this.#position),
    });
    for (const kind of kinds) await files.write(folder, `${kind}.safetensors`, chunks);
  }

  /** Frees the sessions; the trainer cannot be used afterwards. */
  async release(): Promise<void> {
    await this.#forward?.session.release();
    await this.#session.release();
  }

  #split(dataset: Dataset, { validation }: FitOptions): { train: Dataset; validation: Dataset | undefined } {
    if (typeof validation !== "number") return { train: dataset, validation };
    return validation === 0
      ? { train: dataset, validation: undefined }
      : splitValidation(dataset, validation, this.#options.seed ?? 0);
  }

  async #evaluation(): Promise<{ session: ForwardSession; graph: EvaluationGraph }> {
    if (!this.#forward) {
      const graph = await buildEvaluation(
        this.#model,
        this.#options,
        this.step.ports,
        this.#runtime.probe,
        await this.#backend.lowering(),
      );
      const session = await this.#backend.openForward(graph.model.bytes, this.#options);
      this.#forward = { session, graph };
    }
    return this.#forward;
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
      throw new SorthError(
        `the loss became ${loss} at step ${step}; the state after step ${step - 1} is kept${checkpoint ? ` in ${checkpoint}` : ""}: ${advice}`,
      );
    }
    const kept = checkpoint && this.#position.step > 0 ? `; ${checkpoint} holds the last good state` : "";
    if (!kept) {
      this.#session.restore(initialTensors(this.step));
      this.#position = startPosition();
      this.takeOver(this.#takenOver);
    }
    throw new SorthError(
      `the loss became ${loss} at step ${step}, since the parameters of step ${step - 1} were no numbers any more${kept || "; the initial state was restored"}: ${advice}`,
    );
  }
}
