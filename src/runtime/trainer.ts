import type { Dataset } from "../data/dataset.ts";
import { checkKnown } from "../known-options.ts";
import type { Model } from "../onnx/model.ts";
import { withWeights } from "../programs/export.ts";
import type { RescuedModel } from "../programs/rescue.ts";
import type { Step } from "../programs/step.ts";
import { batchOf } from "../programs/step-ports.ts";
import type { TrainerState } from "../programs/trainer-state.ts";
import type { ScheduledRun } from "../schedules/schedule.ts";
import { type AveragedOption, averageOf } from "./averages.ts";
import { normalizationFor } from "./batch-feeds.ts";
import type { CheckpointKind, EvaluationResult, TrainingEvent } from "./events.ts";
import type { FitLoop } from "./fit-loop.ts";
import { type FitOptions, Fitting, splitOf } from "./fit-plan.ts";
import { checkRuns, openStep } from "./open-step.ts";
import type { OwnEvaluation } from "./own-evaluation.ts";
import type { NewParameters, ParameterForm, ParametersOptions, SetParametersOptions } from "./parameters.ts";
import type { RescueOptions } from "./rescue.ts";
import { runOptions } from "./run-options.ts";
import { RunState } from "./run-state.ts";
import type { StepSession } from "./step-session.ts";
import { timedOptions, withChosenWeight } from "./timed-options.ts";
import { type ExportOptions, exportNames, trainedModel } from "./trained-model.ts";
import { backendNamed, checkTakesOver, type TrainerOptions } from "./trainer-options.ts";
import type { TrainerParts } from "./trainer-parts.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";
import { TrainerUse } from "./trainer-use.ts";
import { TrainingSession } from "./training-session.ts";

/** Trains a model on stock ONNX Runtime: one run of the step graph per batch. `Trainer` of the entries documents it. */
export class Trainer {
  readonly step: Step;
  readonly #parts: TrainerParts;
  readonly #session: TrainingSession;
  readonly #evaluation: OwnEvaluation;
  readonly #run: RunState;
  #options: TrainerOptions;
  /** Whether some data have decided how pixels are scaled. */
  #looked = false;
  #fitting = new Fitting();
  #loop: FitLoop | undefined;
  /** The checkpoint folder that holds a state of this fit. */
  #savedTo: string | undefined;
  readonly #use = new TrainerUse();

  /** @param parts - use {@link Trainer.create}, {@link Trainer.resume} or {@link Trainer.rescue} to make a trainer */
  protected constructor(parts: TrainerParts, options: TrainerOptions, session: StepSession) {
    const { model, step, backend, length, runtime, Evaluation } = parts;
    this.step = step;
    this.#parts = parts;
    this.#options = options;
    this.#session = new TrainingSession(session, step.ports, () => length.interrupted());
    this.#run = new RunState(step, this.#session);
    const ports = backend.stateOnDevice ? step.ports : this.#run.ports;
    this.#evaluation = new Evaluation(model, options, { ...parts, ports, probe: runtime.probe });
  }

  /** Builds the step graph of a model and opens its session. @throws SorthError as buildStep does. */
  static async create(
    source: Model,
    given: TrainerOptions,
    runtime: TrainerRuntime,
    made: typeof Trainer = Trainer,
  ): Promise<Trainer> {
    const { checkTrainerOptions, OwnEvaluation: Evaluation } = await import("./check-trainer-options.ts");
    const own = checkTrainerOptions(given, source);
    const { options: asked, ...parts } = await runOptions(source, own);
    const backend = backendNamed(asked.backend, runtime.backends);
    await checkRuns(backend, asked);
    const { options, ...trained } = await trainedModel(source, asked, runtime);
    const { session, ...opened } = await openStep(trained.model, options, backend, runtime.probe);
    return new made({ ...trained, ...parts, ...opened, backend, runtime, Evaluation }, options, session);
  }

  /**
   * Resumes a run from a checkpoint folder, bit for bit where it stood. {@link fit} then needs no options: epochs, validation
   * and the rest keep their former values.
   * @param overrides - options that the folder cannot hold (functions, an optimizer or loss of your own), or that are to be
   * changed
   * @throws UsageError for options that have to be given again; SorthError for a folder without a complete run
   */
  static async resume(
    folder: string,
    overrides: Partial<TrainerOptions>,
    runtime: TrainerRuntime,
    made: typeof Trainer = Trainer,
  ): Promise<Trainer> {
    const { checkSameData, readRun, resumedOptions } = await import("./stored-run.ts");
    const checkpoint = await readRun(folder, "last", runtime);
    const model = await runtime.files.readModel(folder);
    const options = await resumedOptions(checkpoint.options, folder, overrides, runtime);
    const trainer = await Trainer.create(model, options, runtime, made);
    try {
      await trainer.#run.goTo(checkpoint);
    } catch (error) {
      await trainer.release();
      throw error;
    }
    trainer.#fitting = new Fitting(checkpoint.fit, checkSameData);
    return trainer;
  }

  /**
   * Continues a run of ONNX Runtime's training API with its optimizer, learning rate and optimizer state, unless the options
   * say otherwise. A state that does not fit the optimizer is left out, and `onMessage` receives a message.
   * @param run - from {@link rescueModel}, or, in node, from files by `rescueFiles`
   * @throws UsageError for options that the artifacts fix: the loss, and which weights are trained and shared
   *
   * @example
   * const run = rescueModel(await readModel("training_model.onnx"), await readCheckpoint("checkpoint"));
   * const trainer = await Trainer.rescue(run, { batch: 16 });
   * for await (const event of trainer.fit(data, { epochs: 3 })) console.log(event);
   * await writeModel(rescuedInference(trainer.export()), "trained.onnx");
   */
  static async rescue(
    run: RescuedModel,
    options: RescueOptions,
    runtime: TrainerRuntime,
    made: typeof Trainer = Trainer,
  ): Promise<Trainer> {
    const { rescued } = await import("./rescue.ts");
    return rescued(run, options, (own) => Trainer.create(run.model, own, runtime, made));
  }

  /**
   * Returns to a checkpoint of this run: restores parameters, optimizer state and position.
   * @throws SorthError when the folder has no checkpoint, or that of another run; UsageError while a fit is under way
   *
   * @example
   * await trainer.load("run", "best");
   * await writeModel(trainer.export(), "best.onnx");
   */
  async load(folder: string, kind: CheckpointKind = "last"): Promise<void> {
    await this.#use.alone(async () => {
      const { readRun } = await import("./stored-run.ts");
      await this.#session.readState();
      await this.#run.goTo(await readRun(folder, kind, this.#parts.runtime));
    });
  }

  /** The backend: `cpu`, `wasm`, `webgpu` … */
  get backend(): string {
    return this.#parts.backend.name;
  }

  /** The trained model, with its initial weights and adapters. */
  get model(): Model {
    return this.#parts.model;
  }

  /** The options of the run. */
  get options(): TrainerOptions {
    return this.#options;
  }

  /**
   * Whether reading the state is cheap. Between the steps of one run of ONNX Runtime ({@link TrainerOptions.stepsPerRun}) it
   * is not: steps have to be recomputed. Callers that measure often should wait until this is true.
   */
  get settled(): boolean {
    return this.#session.settled;
  }

  /** What schedules look at in the current or last fit; undefined before the first. */
  get scheduled(): ScheduledRun | undefined {
    return this.#loop?.scheduled;
  }

  /** Steps done so far. */
  get steps(): number {
    return this.#run.position.step;
  }

  /**
   * Trains and yields events. The last event is an `end` event, also after an abort, and after {@link release}.
   * @throws SorthError when data do not fit the model, or the loss is no longer a number (the last good state is kept);
   * UsageError while another fit of this trainer is under way
   */
  fit(dataset: Dataset, options: FitOptions = {}): AsyncGenerator<TrainingEvent, void, undefined> {
    return this.#use.fit(
      () => this.#begin(dataset, options),
      () => this.#session.readState(),
    );
  }

  /** Checks the data and begins the loop over them. */
  async #begin(dataset: Dataset, options: FitOptions): Promise<AsyncIterable<TrainingEvent>> {
    const checks = await import("./check-trainer-options.ts");
    checks.checkFitOptions(dataset, options, this.#fitting.stored);
    const chosen = this.#fitting.chosen(dataset, options);
    const { train, validation } = splitOf(dataset, chosen, this.#options.seed ?? 0);
    await checks.checkFit(train, this.#options, this.step.ports);
    this.#chooseNormalization(train);
    this.#parts.taught?.check(this.#options.normalize);
    const own = await checks.checkSamples(this.#evaluation, { train, validation }, this.#options);
    const { signal, checkpoint, callbacks } = options;
    const decides = checks.checkDecides(chosen, options, validation);
    const figures = validation && (await this.#evaluation.figures(validation));
    const buckets = await this.#parts.buckets?.of(train);
    this.#use.checkOpen();
    const loop = new checks.FitLoop({
      ...{ ...this.#parts, options: await timedOptions(this.#options), session: this.#session, train: own },
      ...{ position: this.#run.position, chosen, validation, figures, buckets, checkpoint, signal },
      evaluate: (data) => this.evaluate(data),
      decide:
        decides && figures ? (await import("./best-epochs.ts")).decisionsBy(chosen, figures) : undefined,
      goesOn: options.earlyStop === undefined,
      save: (folder, kinds) => this.save(folder, kinds),
      remove: async (folder, kinds) =>
        (await import("./stored-run.ts")).removeCheckpoints(folder, kinds, this.#parts.runtime),
      choose: (weight) => (this.#options = withChosenWeight(this.#options, weight)),
      stopAt: async (result) =>
        (await import("./not-a-number.ts")).stopAtNotANumber(result, {
          ...{ session: this.#session, steps: this.steps, checkpoint },
          isSaved: checkpoint !== undefined && this.#savedTo === checkpoint,
          save: (folder) => this.save(folder),
          restore: () => this.#run.restore(),
        }),
    });
    [this.#loop, this.#savedTo] = [loop, undefined];
    this.#fitting.begin(dataset, chosen);
    if (!callbacks?.length) return loop.events();
    const { withCallbacks } = await import("./callbacks.ts");
    const run = { trainer: this, stop: () => loop.stop() };
    return withCallbacks(loop.events(), callbacks, run, async () => checkpoint && this.save(checkpoint));
  }

  /**
   * Copies of the current parameters, running statistics and optimizer state.
   * @throws SorthError between the steps of an epoch, when a session may hold newer numbers: await {@link readState} first
   */
  state(): TrainerState {
    this.#use.checkOpen();
    return this.#run.read();
  }

  /** {@link state} at any time: fetches it from a device, or rolls back the later steps of a longer run, if necessary. */
  async readState(): Promise<TrainerState> {
    this.#use.checkOpen();
    await this.#session.readState();
    return this.state();
  }

  /**
   * Takes over the state of another run of the same parameters; tensors that are not named keep their numbers.
   * @throws UsageError for a parameter, statistic or slot that this run lacks or has in another shape
   */
  takeOver(state: Partial<TrainerState>): void {
    this.#use.checkOpen();
    checkTakesOver(this.#options, state);
    this.#run.takeOver(state);
  }

  /**
   * Copies of the numbers that the run trains (of adapters alone where only they are trained), for a transport of your own: a
   * list in the same order for each run of this model and these options, or one vector (`flat`). At any time, on any backend.
   *
   * @example
   * await other.setParameters(await trainer.parameters({ flat: true }));
   */
  async parameters<O extends ParametersOptions>(options?: O): Promise<ParameterForm<O>> {
    const { parametersOf } = await import("./parameters.ts");
    return parametersOf(
      this.#run.ports,
      await this.readState(),
      options === undefined ? {} : options,
    ) as ParameterForm<O>;
  }

  /**
   * Sets what {@link parameters} returned, in any of its forms: all parameters, and the running statistics if they are among
   * the numbers. The position of the run stays, and the optimizer's state unless `optimizer` is `reset`.
   * @throws UsageError for other names, shapes or lengths, and for NaN and infinite numbers; the state then stays as it was
   */
  async setParameters(given: NewParameters, options: SetParametersOptions = {}): Promise<void> {
    const { givenState } = await import("./parameters.ts");
    const run = { ...this.#options, ...(await this.readState()) };
    this.takeOver(givenState(this.#run.ports, given, options, run));
  }

  /**
   * Loss and accuracy over a whole dataset, in inference form; every sample counts once. For a model that holds its loss this
   * is so if that loss is a cross-entropy. With any other loss of its own there is no accuracy, samples that fill no batch
   * are left out, and `onMessage` receives a message. A run that keeps an average of its weights is evaluated with it, unless
   * `averaged` is false.
   */
  async evaluate(
    dataset: Dataset,
    options: AveragedOption & { readonly signal?: AbortSignal } = {},
  ): Promise<EvaluationResult> {
    this.#use.checkOpen();
    (await import("./check-trainer-options.ts")).checkEvaluates(dataset, options);
    this.#chooseNormalization(dataset);
    const average = averageOf(this.step.ports, options);
    const run = { ...options, normalize: this.#options.normalize };
    const figures = await this.#use.during(
      this.#evaluation.run(dataset, (work) => this.#session.withHeld(average, work), run),
    );
    return { ...figures, ...(average !== undefined && { average }) };
  }

  /**
   * The model with its current weights, or with their average if the run keeps one and `averaged` is not false, in inference
   * form; an injected block is left out unless `keepPenalty` is set, adapters of the option `lora` are folded into the weights
   * unless `merge` is false.
   * @throws SorthError as {@link state} does; UsageError for `averaged` where no average is kept
   */
  export(options: ExportOptions = {}): Model {
    this.#use.checkOpen();
    checkKnown("export", options, exportNames);
    const weights = this.#run.weights(averageOf(this.step.ports, options));
    const model = withWeights(this.#parts.model, weights, { ...this.#options, ...options });
    return options.merge === false ? model : this.#parts.merged(model);
  }

  /**
   * Number of steps that {@link fit} would still do on a dataset; 0 when the run is done.
   * @throws UsageError as {@link fit} does
   */
  stepsLeft(dataset: Dataset, options: FitOptions = {}): number {
    const all = this.#fitting.totalSteps(dataset, options, this.#options.seed ?? 0, batchOf(this.step.ports));
    return Math.max(0, all - this.#run.position.step);
  }

  /** Saves the run for {@link Trainer.resume}: `model.onnx` (and its external data), `last.safetensors`. */
  async save(folder: string, kinds: readonly CheckpointKind[] = ["last"]): Promise<void> {
    this.#use.checkOpen();
    const { writeRun } = await import("./stored-run.ts");
    await writeRun(folder, kinds, this.#parts.runtime, {
      ...{ model: this.#parts.source, session: this.#session, ports: this.step.ports },
      ...{ options: { ...this.#options, backend: this.backend }, position: this.#run.position },
      ...{ fit: this.#fitting.plan, isSaved: this.#savedTo === folder },
    });
    this.#savedTo = folder;
  }

  /** Frees the sessions; the trainer cannot be used afterwards. A fit that is under way ends as if it was aborted. */
  release(): Promise<void> {
    this.#loop?.leave();
    return this.#use.release(() => this.#session.release().finally(() => this.#evaluation.release()));
  }

  /** The first data of a run decide how pixels are scaled. */
  #chooseNormalization(dataset: Dataset): void {
    if (this.#options.normalize !== undefined || this.#looked) return;
    this.#looked = true;
    const normalize = normalizationFor(dataset, this.#parts, this.#options.onMessage);
    if (normalize !== undefined) this.#options = { ...this.#options, normalize };
  }
}
