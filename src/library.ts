import type { AdapterFunctions } from "./adapters/functions.ts";
import type { Dataset } from "./data/dataset.ts";
import type { GeneratorFunctions } from "./data/generator-functions.ts";
import type { HeadFunctions } from "./head/functions.ts";
import type { InjectOptions } from "./inject/options.ts";
import type {
  AngleReport,
  LayerResponseAngles,
  LayerWeightAngles,
  ResponseAngleOptions,
} from "./measure/angle-report.ts";
import type { FindLearningRateOptions, FoundLearningRate } from "./measure/find-learning-rate.ts";
import type { Inspection, InspectOptions } from "./measure/inspect.ts";
import type { ObservationEvent, ObserveOptions } from "./measure/observe.ts";
import type { Feeds } from "./measure/sample-chunks.ts";
import type { SeedFunctions } from "./measure/seed-functions.ts";
import type { TrainerAngleOptions, TrainerAngles } from "./measure/trainer-angles.ts";
import type { WeightAngleOptions } from "./measure/weight-angles.ts";
import type { Model } from "./onnx/model.ts";
import type { ArtifactOptions, Artifacts } from "./programs/artifacts.ts";
import type { DifferentiateOptions, GradientModel } from "./programs/differentiate.ts";
import type { SplitStep } from "./programs/split-step.ts";
import type { Step, StepOptions } from "./programs/step.ts";
import type { PageFunctions } from "./report/pages/page-functions.ts";
import type { TrainingEvent } from "./runtime/events.ts";
import type { ExportCheckpointOptions } from "./runtime/export-checkpoint.ts";
import type { ModelFunctions } from "./runtime/model-functions.ts";
import type { Trainer } from "./runtime/trainer.ts";
import type { TapFunctions } from "./tap/tap-functions.ts";
import type { VerifyOptions, VerifyReport } from "./verify/verify.ts";

/**
 * The functions that compute with ONNX Runtime: on onnxruntime-node when they come from `sorth-onnx`, on onnxruntime-web
 * when they come from `sorth-onnx/web`. Each is an export of its own with the same name, signature and numbers in both.
 * In a browser the code of all but {@link Library.buildStep} is loaded when it is first called.
 */
export interface Library
  extends SeedFunctions,
    GeneratorFunctions,
    ModelFunctions,
    HeadFunctions,
    AdapterFunctions,
    TapFunctions,
    PageFunctions {
  /**
   * Lists what a model consists of: its layers and the penalties that apply to each, what is skipped and why, the
   * parameters that training would change, and advice. For a training_model.onnx of ONNX Runtime's training tools it shows
   * the forward part, the trained and the frozen parameters; the other files of those tools are only recognised.
   *
   * @param model - read by `readModel` or decoded by `decodeModel`; it is not changed
   * @param options - sizes of free dimensions, and patterns that say what is trained
   * @returns names, operators, `units` and `fanIn` of every layer; shapes as the file declares them
   * @throws SorthError with the code `file` for a damaged model, `runtime` when ONNX Runtime refuses it
   *
   * @example
   * import { inspect, readModel } from "sorth-onnx";
   *
   * const { sites, parameters } = await inspect(await readModel("model.onnx"));
   * for (const { name, op, units, fanIn } of sites) console.log(`${name}: ${op}, ${units} units of ${fanIn} weights`);
   * console.log(`${parameters.length} parameters`);
   */
  inspect(model: Model, options?: InspectOptions): Promise<Inspection>;

  /**
   * Adds penalties to a model. The result has one more scalar output, `sorth_penalty` (R, the sum over layers, without its
   * weight), and optionally one per layer, R added to the model's own loss, or a loss with R added to it. Everything else
   * stays byte for byte as it was, except that a loss that was replaced gets a new name; `strip` takes the penalties out
   * again. The opset stays, the batch stays free, and large weights are neither copied nor, in other files, read.
   *
   * A training_model.onnx of ONNX Runtime's training tools gets w·R in its loss and w·∂R/∂response in its gradients, so that
   * ONNX Runtime's own training session trains with the penalty; the files beside it stay valid.
   *
   * @param model - opset 7 to 26; it is not changed
   * @param options - the penalties with their layers and weights, and which loss they are added to
   * @returns a model of views of the old bytes with the new records between them
   * @throws UsageError for options that contradict each other or are out of range; SorthError with the code `model` when
   *   no layer takes a penalty, the model has penalties already, or its opset is not supported
   *
   * @example
   * import { inject, readModel, som, writeModel } from "sorth-onnx";
   *
   * const model = await readModel("model.onnx");
   * const injected = await inject(model, { penalties: [{ penalty: som(), include: /fc/ }], perSite: true });
   * await writeModel(injected, "injected.onnx");
   */
  inject(model: Model, options: InjectOptions): Promise<Model>;

  /**
   * Compares an injected model with its original: nothing else was changed; without graph optimization the outputs are the
   * same to the bit (the difference with it is noted); each layer's penalty is that of the float64 reference; it changes
   * along a random direction of the layer's weight as the closed-form gradient says; the model runs at another batch size.
   * For training models of ONNX Runtime's training tools the forward part is run with random weights, and every gradient
   * that was added is compared.
   *
   * @param original - the model before {@link Library.inject}
   * @param injected - what {@link Library.inject} made of it
   * @param options - data to run both on (default: seeded random numbers), and how much time float64 may take
   * @returns named checks with figures; a check that fails is reported, not thrown: look at `passed`
   * @throws SorthError with the code `model` when the second model has no penalty in it, `runtime` when a model cannot be run
   *
   * @example
   * import assert from "node:assert";
   * import { inject, readModel, som, verify } from "sorth-onnx";
   *
   * const model = await readModel("model.onnx");
   * const { passed, checks } = await verify(model, await inject(model, { penalties: [som()] }));
   * assert(passed, checks.find(({ status }) => status === "failed")?.detail ?? "");
   */
  verify(original: Model, injected: Model, options?: VerifyOptions): Promise<VerifyReport>;

  /**
   * Measures the angles between the weight vectors of each layer's units: 90° for orthogonal ones. With them come singular
   * values and how far the weight is from orthonormal rows, as a matrix and as a convolution (docs/angles.md explains each
   * figure). Biases take no part.
   *
   * @param model - its layers' weights are taken as matrices `[units, fanIn]`, one row per unit
   * @param options - what else to measure: spectra, histograms, heat maps, the vectors themselves
   * @returns angles in degrees, layer by layer, and the layers without angles with the reason
   * @throws SorthError with the code `runtime` when ONNX Runtime refuses the model, `model` for a training artifact
   *
   * @example
   * import { readModel, weightAngles } from "sorth-onnx";
   *
   * const { layers } = await weightAngles(await readModel("model.onnx"));
   * for (const { name, mean, spread } of layers) console.log(`${name}: ${mean.toFixed(1)}° ± ${spread.toFixed(1)}°`);
   */
  weightAngles(model: Model, options?: WeightAngleOptions): Promise<AngleReport<LayerWeightAngles>>;

  /**
   * Measures the angles between the responses of each layer's units on given data: (π/2)(1 − ϑ), where ϑ is the correlation
   * of the responses after tanh(γY), over all samples. They differ from weight angles (docs/angles.md).
   *
   * @param model - a model with its weights
   * @param data - a tensor `[samples, …]` for every input of the model, by name; `sampleFeeds` makes them from a dataset.
   *   They are run in chunks. Where the model fixes its batch, samples behind the last whole batch are left out
   * @param options - steepness γ, samples per chunk, what else to measure
   * @returns angles in degrees, layer by layer, and the layers without angles with the reason
   * @throws SorthError with the code `data` when an input is missing or does not fit, `runtime` when ONNX Runtime refuses the model
   *
   * @example
   * import { loadMnist, readModel, responseAngles, sampleFeeds } from "sorth-onnx";
   *
   * const model = await readModel("model.onnx");
   * const { train } = await loadMnist();
   * const { layers } = await responseAngles(model, await sampleFeeds(model, train, 256));
   * for (const { name, mean, saturation } of layers) console.log(name, mean, saturation);
   */
  responseAngles(
    model: Model,
    data: Feeds,
    options?: ResponseAngleOptions,
  ): Promise<AngleReport<LayerResponseAngles>>;

  /**
   * Passes on the events of a training run and measures, before the first step, after each epoch and at the end, what a
   * report of it shows: the angles between units, and the gradients of loss and penalty apart. The run itself is the same
   * to the bit. A measurement that fails is reported through `onMessage` and not tried again; the run goes on.
   *
   * @param trainer - the trainer that does the run
   * @param dataset - samples for response angles and gradients, usually those it trains on
   * @param run - what `trainer.fit` returned; it is consumed
   * @param options - what to measure, and on how many samples
   * @returns the events of the run with `angles` and `gradients` events between them
   *
   * @example
   * import { crossEntropy, loadMnist, observe, readModel, som, Trainer } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const trainer = await Trainer.create(await readModel("model.onnx"), { objective: crossEntropy(), penalties: [som()], batch: 32 });
   * for await (const event of observe(trainer, train, trainer.fit(train, { maxSteps: 20 }))) {
   *   if (event.event === "angles") console.log(event.epoch, event.layers);
   * }
   * await trainer.release();
   */
  observe(
    trainer: Trainer,
    dataset: Dataset,
    run: AsyncIterable<TrainingEvent>,
    options?: ObserveOptions,
  ): AsyncGenerator<TrainingEvent | ObservationEvent, void, undefined>;

  /**
   * Measures the angles of every layer of a run as it stands, between two of its steps. The run itself stays as it is, to the bit.
   *
   * @param trainer - the trainer that does the run
   * @param dataset - samples that response angles are measured on: the same ones at each call
   * @param options - what to measure, and on how many samples
   * @returns weight angles and response angles in degrees, layer by layer
   * @throws SorthError with the code `data` when the samples do not fit the model
   *
   * @example
   * import { crossEntropy, loadMnist, readModel, Trainer, trainerAngles } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const trainer = await Trainer.create(await readModel("model.onnx"), { objective: crossEntropy(), batch: 32 });
   * for (const { name, responses } of await trainerAngles(trainer, train)) console.log(name, responses?.spread);
   * await trainer.release();
   */
  trainerAngles(trainer: Trainer, dataset: Dataset, options?: TrainerAngleOptions): Promise<TrainerAngles[]>;

  /**
   * Looks for a learning rate: trains for some steps with rates that rise from `min` to `max` by a constant factor, until the
   * loss diverges, and suggests a rate from the curve. It trains a copy of the trainer's state, with its loss, penalties (their weights
   * without schedules) and optimizer; the trainer stays as it is.
   *
   * @param trainer - a trainer before its first step, or between two steps
   * @param dataset - the samples to train on
   * @param options - the range of the rates and the number of steps
   * @returns the curve and what it suggests
   * @throws UsageError for rates or steps out of range; SorthError when data do not fit the model
   *
   * @example
   * import { crossEntropy, findLearningRate, loadMnist, readModel, Trainer } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const trainer = await Trainer.create(await readModel("model.onnx"), { objective: crossEntropy(), batch: 32 });
   * const { suggestion, points } = await findLearningRate(trainer, train, { steps: 50 });
   * console.log(suggestion, points.length);
   * await trainer.release();
   */
  findLearningRate(
    trainer: Trainer,
    dataset: Dataset,
    options?: FindLearningRateOptions,
  ): Promise<FoundLearningRate>;

  /**
   * Writes the gradient of a model's loss as an ONNX graph of standard operators, which can be differentiated again. With
   * `vjp`, `jvp` or `jacobian` it writes products with the Jacobian of the model's outputs, or the Jacobian, in its place.
   * Variables are parameters, inputs and inner values of the model.
   * Parameters stay initializers; BatchNormalization and Dropout stay as the file has them. A parameter on which the loss
   * does not depend gets zeros. Large weights in other files stay there: write the graph with `writeModel`, which takes
   * them along.
   *
   * @param model - it is not changed
   * @param options - the loss or the product, the batch size where the model leaves it open, and the variables
   * @returns the graph, the name of its loss output, which output is the gradient (in the variable's shape) of which variable,
   *   and the names of seeds, tangents, products and Jacobians
   * @throws SorthError with the code `model` when an operator between a parameter and the loss has no derivative: which,
   *   where, and the path to it; UsageError when a pattern matches nothing or a dimension is not known
   *
   * @example
   * import { crossEntropy, differentiate, readModel, writeModel } from "sorth-onnx";
   *
   * const { model, gradients } = await differentiate(await readModel("model.onnx"), { objective: crossEntropy(), batch: 32 });
   * console.log(gradients.get("fc1.weight")); // fc1.weight_grad
   * await writeModel(model, "grad.onnx");
   */
  differentiate(model: Model, options: DifferentiateOptions): Promise<GradientModel>;

  /**
   * Writes one training step as a graph of standard operators: forward, loss, penalty, gradients, optimizer. For a loop of
   * your own, in any language; {@link Trainer} runs it for you.
   *
   * Inputs: those of the model, `labels`, each parameter p with its optimizer slots (`p.m`, `p.v`), the scalars
   * `learning_rate`, `step` (counted from 1) and, with a penalty, `penalty_weight`. Outputs: `loss` (the total), `penalty`
   * (without its weight), `p.next`, `p.m.next`, `p.v.next`. `ports` has the actual names and shapes. Frozen weights stay
   * initializers. The batch is fixed.
   *
   * @param model - it is not changed
   * @param options - loss, penalties, optimizer, batch size, what is trained
   * @returns the graph, its ports, and the numbers that parameters start with; `initialState` gives all that the first step reads
   * @throws SorthError with the code `model` when something between a parameter and the loss has no derivative, or nothing
   *   is trainable; UsageError for options out of range or a dimension that is not known
   *
   * @example
   * import { adamw, buildStep, crossEntropy, readModel, som, writeModel } from "sorth-onnx";
   *
   * const step = await buildStep(await readModel("model.onnx"), {
   *   objective: crossEntropy(),
   *   optimizer: adamw({ weightDecay: 0.05 }),
   *   penalties: [som()],
   *   batch: 64,
   * });
   * console.log(step.ports.parameters.map(({ name, shape }) => `${name} [${shape}]`));
   * await writeModel(step.model, "step.onnx");
   */
  buildStep(model: Model, options: StepOptions): Promise<Step>;

  /**
   * Writes a training step as two graphs: gradients, then update. Between them a loop may average the gradients of several
   * workers, or add up several batches. The whole optimizer is in the second graph, with whatever clips gradients. Running
   * one after the other is the step of {@link Library.buildStep}.
   *
   * @param model - it is not changed
   * @param options - as for {@link Library.buildStep}
   * @returns both graphs and their ports: `gradient` is an output of the first and an input of the second
   * @throws SorthError and UsageError as {@link Library.buildStep} does
   *
   * @example
   * import { buildSplitStep, crossEntropy, readModel, sgd } from "sorth-onnx";
   *
   * const model = await readModel("model.onnx");
   * const { ports } = await buildSplitStep(model, { objective: crossEntropy(), optimizer: sgd(), batch: 32 });
   * console.log(ports.parameters.map(({ gradient }) => gradient)); // fc1.weight.grad, …
   */
  buildSplitStep(model: Model, options: StepOptions): Promise<SplitStep>;

  /**
   * Writes the files that the sessions of ONNX Runtime's training API (1.19.2, Python and web) train: training_model,
   * eval_model, optimizer_model and checkpoint. Python is not needed, and models that its own builder refuses work too.
   * The backward part is in standard operators; gradients are named `<value>_grad`. Running statistics of BatchNorm are
   * frozen parameters of the checkpoint that every step updates; Dropout draws inside the graph. Labels of a cross-entropy
   * are int64. The batch is fixed. With a penalty the loss contains it and the last output, `sorth_penalty`, shows it.
   *
   * @param model - float32 parameters, an opset that ONNX Runtime 1.19.2 loads; it is not changed
   * @param options - loss, penalties, what is trained, and which optimizer_model is written
   * @returns three models and the checkpoint: write them with `writeModel` and `writeCheckpoint`
   * @throws SorthError with the code `model` for a newer opset, other types of parameters, or an operator without a derivative
   *
   * @example
   * import { buildArtifacts, crossEntropy, readModel, writeCheckpoint, writeModel } from "sorth-onnx";
   *
   * const artifacts = await buildArtifacts(await readModel("model.onnx"), { objective: crossEntropy(), batch: 32 });
   * await writeModel(artifacts.training, "training_model.onnx");
   * await writeCheckpoint("checkpoint", artifacts.checkpoint);
   */
  buildArtifacts(model: Model, options: ArtifactOptions): Promise<Artifacts>;

  /**
   * Takes the trained model out of the checkpoint folder of a run, without training or opening a session.
   *
   * @param folder - the folder that `trainer.fit` or `trainer.save` wrote: in node a path, in a browser a folder of the
   *   origin private file system
   * @param options - which checkpoint, and whether an injected penalty stays in the model
   * @returns the model that was trained, in inference form, with the weights of the checkpoint
   * @throws SorthError with the code `file` for a folder without such a checkpoint, or a damaged one
   *
   * @example
   * import { crossEntropy, exportCheckpoint, loadMnist, readModel, Trainer, writeModel } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const trainer = await Trainer.create(await readModel("model.onnx"), { objective: crossEntropy(), batch: 32 });
   * for await (const _ of trainer.fit(train, { maxSteps: 20, checkpoint: "run" }));
   * await trainer.release();
   * await writeModel(await exportCheckpoint("run"), "exported.onnx");
   */
  exportCheckpoint(folder: string, options?: ExportCheckpointOptions): Promise<Model>;
}
