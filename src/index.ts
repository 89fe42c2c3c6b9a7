import type { Dataset } from "./data/dataset.ts";
import { inject as injectWith } from "./inject/inject.ts";
import type { InjectOptions } from "./inject/options.ts";
import { type VerifyOptions, type VerifyReport, verify as verifyWith } from "./inject/verify.ts";
import type { Model } from "./onnx/model.ts";
import type {
  AngleReport,
  LayerResponseAngles,
  LayerWeightAngles,
  ResponseAngleOptions,
} from "./report/angle-report.ts";
import { type Inspection, type InspectOptions, inspect as inspectWith } from "./report/inspect.ts";
import { type ObservationEvent, type ObserveOptions, observe as observeWith } from "./report/observe.ts";
import type { AnglePageOptions, PageModel } from "./report/pages/angle-page.ts";
import type { RunPageOptions } from "./report/pages/run-page.ts";
import { responseAngles as responseAnglesWith } from "./report/response-angles.ts";
import { type RunRecord, runRecord } from "./report/run-record.ts";
import type { Feeds } from "./report/sample-chunks.ts";
import { type WeightAngleOptions, weightAngles as weightAnglesWith } from "./report/weight-angles.ts";
import type { TrainingEvent } from "./runtime/events.ts";
import { nodeRuntime } from "./runtime/node.ts";
import { Trainer as TrainerCore } from "./runtime/trainer.ts";
import type { TrainerOptions } from "./runtime/trainer-options.ts";
import {
  type ArtifactOptions,
  type Artifacts,
  buildArtifacts as buildArtifactsWith,
} from "./training/artifacts.ts";
import {
  type DifferentiateOptions,
  differentiate as differentiateWith,
  type GradientModel,
} from "./training/differentiate.ts";
import { buildSplitStep as buildSplitStepWith, type SplitStep } from "./training/split-step.ts";
import { buildStep as buildStepWith, type Step, type StepOptions } from "./training/step.ts";

export {
  decodeCheckpoint,
  encodeCheckpoint,
  isCheckpoint,
  type OrtCheckpoint,
  type OrtOptimizerState,
} from "./artifacts/checkpoint.ts";
export { readCheckpoint, writeCheckpoint } from "./artifacts/checkpoint-files-node.ts";
export { type NamedOptimizer, readOptimizerModel } from "./artifacts/read-optimizer-model.ts";
export { arrayDataset } from "./data/array-dataset.ts";
export { splitValidation } from "./data/batches.ts";
export { type Dataset, type SplitData, subset } from "./data/dataset.ts";
export { type DigitPointOptions, digitPoints } from "./data/digit-points.ts";
export { loadData, loadNpz } from "./data/load-node.ts";
export { type NamedBytes, type PixelOptions, parseMnist } from "./data/mnist.ts";
export { loadMnist } from "./data/mnist-node.ts";
export { sampleFeeds } from "./data/sample-feeds.ts";
export { SorthError, UsageError } from "./errors.ts";
export type { InjectOptions } from "./inject/options.ts";
export { strip } from "./inject/strip.ts";
export type { VerifyCheck, VerifyOptions, VerifyReport } from "./inject/verify.ts";
export { crossEntropy } from "./objectives/cross-entropy.ts";
export { binaryCrossEntropy, l1, meanSquaredError } from "./objectives/elementwise.ts";
export type { Objective } from "./objectives/objective.ts";
export { readModel, writeModel } from "./onnx/files-node.ts";
export { decodeModel, encodeModel, Model } from "./onnx/model.ts";
export { Tensor } from "./onnx/tensor.ts";
export { adam } from "./optimizers/adam.ts";
export { adamw } from "./optimizers/adamw.ts";
export { adamwOrt } from "./optimizers/adamw-ort.ts";
export type { Optimizer } from "./optimizers/optimizer.ts";
export {
  constant,
  cosine,
  parseSchedule,
  type Schedule,
  sripSchedule,
  stepDecay,
  warmup,
} from "./optimizers/schedules.ts";
export { sgd } from "./optimizers/sgd.ts";
export { definePenalty, type PenaltyFactory } from "./penalties/define.ts";
export type { Draw } from "./penalties/draws.ts";
export type { PenaltyLayer } from "./penalties/layer.ts";
export type { Penalty, PenaltyDefinition, PenaltyGraph, PenaltyOptions, Slope } from "./penalties/penalty.ts";
export type { PenaltyReference, PlainLayer } from "./penalties/plain-layer.ts";
export type { PenaltyPlan } from "./penalties/plan.ts";
export { barlow } from "./penalties/responses/barlow.ts";
export { decov } from "./penalties/responses/decov.ts";
export { vicreg } from "./penalties/responses/vicreg.ts";
export { som } from "./penalties/som.ts";
export { penaltyNamed, penaltyNames } from "./penalties/table.ts";
export { biggan } from "./penalties/weights/biggan.ts";
export { dso } from "./penalties/weights/dso.ts";
export { keras } from "./penalties/weights/keras.ts";
export { lorth } from "./penalties/weights/lorth.ts";
export { mc } from "./penalties/weights/mc.ts";
export { mhe } from "./penalties/weights/mhe.ts";
export { mma } from "./penalties/weights/mma.ts";
export { ocnn } from "./penalties/weights/ocnn.ts";
export { so } from "./penalties/weights/so.ts";
export { spectralSo } from "./penalties/weights/spectral-so.ts";
export { srip } from "./penalties/weights/srip.ts";
export type {
  AngleReport,
  LayerAngles,
  LayerResponseAngles,
  LayerWeightAngles,
  Orthogonality,
  ResponseAngleOptions,
} from "./report/angle-report.ts";
export type { ConvolutionSpectrum } from "./report/convolution-spectrum.ts";
export type { CosineMap } from "./report/cosine-map.ts";
export type { Distribution } from "./report/distribution.ts";
export type { Inspection, InspectOptions } from "./report/inspect.ts";
export type {
  AnglesEvent,
  GradientsEvent,
  ObservationEvent,
  ObservedAngles,
  ObserveOptions,
} from "./report/observe.ts";
export type { AnglePageOptions, PageModel } from "./report/pages/angle-page.ts";
export type { RunPageOptions } from "./report/pages/run-page.ts";
export type { AnglePercentiles, AngleStatistics, UnitPairs } from "./report/pair-statistics.ts";
export { pictures } from "./report/pictures.ts";
export { ProgressLine } from "./report/progress.ts";
export { parseRunRecord, type RunRecord, runRecord } from "./report/run-record.ts";
export type { NotComputed, SpectralFigures, Spectrum } from "./report/spectrum.ts";
export { formatTable } from "./report/table.ts";
export type { WeightAngleOptions } from "./report/weight-angles.ts";
export type { EvaluationResult, TrainingEvent } from "./runtime/events.ts";
export type { FitOptions } from "./runtime/trainer.ts";
export type { TrainerOptions } from "./runtime/trainer-options.ts";
export type { ArtifactOptions, Artifacts } from "./training/artifacts.ts";
export type { DifferentiateOptions, GradientModel } from "./training/differentiate.ts";
export { withWeights } from "./training/export.ts";
export { initialState } from "./training/initial-state.ts";
export { checkpointOf, type RescuedModel, rescuedInference, rescueModel } from "./training/rescue.ts";
export type { SplitParameterPort, SplitStep } from "./training/split-step.ts";
export type { Step, StepOptions, StepPorts } from "./training/step.ts";
export { stepLoop } from "./training/step-loop.ts";
export type { TrainerState } from "./training/trainer-state.ts";

/** {@link inspectWith} on onnxruntime-node. */
export function inspect(model: Model, options: InspectOptions = {}): Promise<Inspection> {
  return inspectWith(model, options, nodeRuntime.probe);
}

/** {@link injectWith} on onnxruntime-node. */
export function inject(model: Model, options: InjectOptions): Promise<Model> {
  return injectWith(model, options, nodeRuntime.probe);
}

/** {@link verifyWith} on onnxruntime-node. */
export function verify(original: Model, injected: Model, options: VerifyOptions = {}): Promise<VerifyReport> {
  return verifyWith(original, injected, options, nodeRuntime.probe);
}

/** {@link weightAnglesWith} on onnxruntime-node. */
export function weightAngles(
  model: Model,
  options: WeightAngleOptions = {},
): Promise<AngleReport<LayerWeightAngles>> {
  return weightAnglesWith(model, options, nodeRuntime.probe);
}

/** {@link responseAnglesWith} on onnxruntime-node. */
export function responseAngles(
  model: Model,
  data: Feeds,
  options: ResponseAngleOptions = {},
): Promise<AngleReport<LayerResponseAngles>> {
  return responseAnglesWith(model, data, options, nodeRuntime.probe);
}

/** {@link observeWith} on onnxruntime-node. */
export function observe(
  trainer: TrainerCore,
  dataset: Dataset,
  run: AsyncIterable<TrainingEvent>,
  options: ObserveOptions = {},
): AsyncGenerator<TrainingEvent | ObservationEvent, void, undefined> {
  return observeWith(trainer, dataset, run, options, nodeRuntime.probe);
}

/**
 * Angles of one or several models as a page: one self-contained HTML text with histograms, heat maps, spectra and tables,
 * that needs no script and no network. What it draws is in the angles if they were measured with {@link pictures}.
 *
 * @example
 * const weights = await weightAngles(model, pictures);
 * await writeFile("report.html", await angleReportPage([{ model: "model.onnx", weights }]));
 */
export async function angleReportPage(
  models: readonly PageModel[],
  options: AnglePageOptions = {},
): Promise<string> {
  const [{ anglePage }, { blankDocument }] = await Promise.all([
    import("./report/pages/angle-page.ts"),
    import("./report/pages/blank-document.ts"),
  ]);
  return anglePage(blankDocument(), models, options);
}

/**
 * The report of a training run as a page, like {@link angleReportPage}: curves, the penalty's share and gradients, angles.
 * @param run - the events of {@link observe} (or of {@link Trainer.fit} alone), or a record that was read
 *
 * @example
 * const run = parseRunRecord(await readFile("trained.run/run.jsonl", "utf8"));
 * await writeFile("report.html", await runReportPage(run, { title: "MNIST with SOM" }));
 */
export async function runReportPage(
  run: RunRecord | Iterable<unknown>,
  options: RunPageOptions = {},
): Promise<string> {
  const [{ runPage }, { blankDocument }] = await Promise.all([
    import("./report/pages/run-page.ts"),
    import("./report/pages/blank-document.ts"),
  ]);
  return runPage(blankDocument(), "steps" in run ? run : runRecord(run), options);
}

/** {@link differentiateWith} on onnxruntime-node. */
export function differentiate(model: Model, options: DifferentiateOptions): Promise<GradientModel> {
  return differentiateWith(model, options, nodeRuntime.probe);
}

/** {@link buildArtifactsWith} on onnxruntime-node. */
export function buildArtifacts(model: Model, options: ArtifactOptions): Promise<Artifacts> {
  return buildArtifactsWith(model, options, nodeRuntime.probe);
}

/** {@link buildStepWith} on onnxruntime-node. */
export function buildStep(model: Model, options: StepOptions): Promise<Step> {
  return buildStepWith(model, options, nodeRuntime.probe);
}

/** {@link buildSplitStepWith} on onnxruntime-node. */
export function buildSplitStep(model: Model, options: StepOptions): Promise<SplitStep> {
  return buildSplitStepWith(model, options, nodeRuntime.probe);
}

/** {@link TrainerCore} on onnxruntime-node: `Trainer.create(model, options)`, `Trainer.resume(folder)`. */
export type Trainer = TrainerCore;
export const Trainer = {
  /** Builds the step graph of a model and opens its session. */
  create: (model: Model, options: TrainerOptions): Promise<TrainerCore> =>
    TrainerCore.create(model, options, nodeRuntime),
  /** Goes on from a checkpoint folder, bit for bit where the run stood. */
  resume: (folder: string, overrides: Partial<TrainerOptions> = {}): Promise<TrainerCore> =>
    TrainerCore.resume(folder, overrides, nodeRuntime),
};
