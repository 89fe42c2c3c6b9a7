import type { Dataset } from "./data/dataset.ts";
import { inject as injectOn } from "./inject/inject.ts";
import type { InjectOptions } from "./inject/options.ts";
import type { VerifyOptions, VerifyReport } from "./inject/verify.ts";
import type { Model } from "./onnx/model.ts";
import type {
  AngleReport,
  LayerResponseAngles,
  LayerWeightAngles,
  ResponseAngleOptions,
} from "./report/angle-report.ts";
import { type Inspection, type InspectOptions, inspect as inspectOn } from "./report/inspect.ts";
import { type ObservationEvent, type ObserveOptions, observe as observeOn } from "./report/observe.ts";
import { responseAngles as responseAnglesOn } from "./report/response-angles.ts";
import type { Feeds } from "./report/sample-chunks.ts";
import { type WeightAngleOptions, weightAngles as weightAnglesOn } from "./report/weight-angles.ts";
import type { TrainingEvent } from "./runtime/events.ts";
import { webProbe } from "./runtime/probe-web.ts";
import { Trainer as TrainerCore } from "./runtime/trainer.ts";
import type { TrainerOptions } from "./runtime/trainer-options.ts";
import { webRuntime } from "./runtime/web.ts";
import {
  type ArtifactOptions,
  type Artifacts,
  buildArtifacts as buildArtifactsOn,
} from "./training/artifacts.ts";
import {
  type DifferentiateOptions,
  differentiate as differentiateOn,
  type GradientModel,
} from "./training/differentiate.ts";
import { buildSplitStep as buildSplitStepOn, type SplitStep } from "./training/split-step.ts";
import { buildStep as buildStepOn, type Step, type StepOptions } from "./training/step.ts";

export type { DimensionOptions } from "./analysis/dimensions.ts";
export {
  decodeCheckpoint,
  encodeCheckpoint,
  isCheckpoint,
  type OrtCheckpoint,
  type OrtOptimizerState,
} from "./artifacts/checkpoint.ts";
export { type NamedOptimizer, readOptimizerModel } from "./artifacts/read-optimizer-model.ts";
export { arrayDataset } from "./data/array-dataset.ts";
export { splitValidation } from "./data/batches.ts";
export { type Dataset, type SplitData, subset } from "./data/dataset.ts";
export { type DigitPointOptions, digitPoints } from "./data/digit-points.ts";
export { type ImageFile, type ImageOptions, type LoadedImages, loadImages } from "./data/images-web.ts";
export { type NamedBytes, type PixelOptions, parseMnist } from "./data/mnist.ts";
export { parseNpz } from "./data/npz.ts";
export { sampleFeeds } from "./data/sample-feeds.ts";
export { SorthError, UsageError } from "./errors.ts";
export type { InjectOptions } from "./inject/options.ts";
export { strip } from "./inject/strip.ts";
export type { VerifyCheck, VerifyOptions, VerifyReport } from "./inject/verify.ts";
export { crossEntropy } from "./objectives/cross-entropy.ts";
export { binaryCrossEntropy, l1, meanSquaredError } from "./objectives/elementwise.ts";
export type { Objective } from "./objectives/objective.ts";
export { modelBlob, readModel, type WebFile } from "./onnx/files-web.ts";
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
export type { AnglePercentiles, AngleStatistics, UnitPairs } from "./report/pair-statistics.ts";
export type { NotComputed, SpectralFigures, Spectrum } from "./report/spectrum.ts";
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

/** {@link inspectOn} on onnxruntime-web. */
export function inspect(model: Model, options: InspectOptions = {}): Promise<Inspection> {
  return inspectOn(model, options, webProbe);
}

/**
 * {@link injectOn} on onnxruntime-web.
 *
 * @example
 * const model = await inject(await readModel(file), { penalties: [som()] });
 */
export function inject(model: Model, options: InjectOptions): Promise<Model> {
  return injectOn(model, options, webProbe);
}

/** Verifies an injected model on onnxruntime-web. Its code is loaded when it is called: a page that trains needs none of it. */
export async function verify(
  original: Model,
  injected: Model,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  const { verify: verifyOn } = await import("./inject/verify.ts");
  return verifyOn(original, injected, options, webProbe);
}

/** {@link weightAnglesOn} on onnxruntime-web. */
export function weightAngles(
  model: Model,
  options: WeightAngleOptions = {},
): Promise<AngleReport<LayerWeightAngles>> {
  return weightAnglesOn(model, options, webProbe);
}

/** {@link responseAnglesOn} on onnxruntime-web. */
export function responseAngles(
  model: Model,
  data: Feeds,
  options: ResponseAngleOptions = {},
): Promise<AngleReport<LayerResponseAngles>> {
  return responseAnglesOn(model, data, options, webProbe);
}

/** {@link observeOn} on onnxruntime-web. */
export function observe(
  trainer: TrainerCore,
  dataset: Dataset,
  run: AsyncIterable<TrainingEvent>,
  options: ObserveOptions = {},
): AsyncGenerator<TrainingEvent | ObservationEvent, void, undefined> {
  return observeOn(trainer, dataset, run, options, webProbe);
}

/** {@link differentiateOn} on onnxruntime-web. */
export function differentiate(model: Model, options: DifferentiateOptions): Promise<GradientModel> {
  return differentiateOn(model, options, webProbe);
}

/** {@link buildStepOn} on onnxruntime-web. */
export function buildStep(model: Model, options: StepOptions): Promise<Step> {
  return buildStepOn(model, options, webProbe);
}

/** {@link buildSplitStepOn} on onnxruntime-web. */
export function buildSplitStep(model: Model, options: StepOptions): Promise<SplitStep> {
  return buildSplitStepOn(model, options, webProbe);
}

/** {@link buildArtifactsOn} on onnxruntime-web. */
export function buildArtifacts(model: Model, options: ArtifactOptions): Promise<Artifacts> {
  return buildArtifactsOn(model, options, webProbe);
}

/**
 * {@link TrainerCore} on onnxruntime-web's WebAssembly build; checkpoint folders lie in the origin private file system.
 *
 * @example
 * const trainer = await Trainer.create(await readModel(file), { objective: crossEntropy(), batch: 32 });
 * for await (const event of trainer.fit(data, { epochs: 3 })) console.log(event);
 */
export type Trainer = TrainerCore;
export const Trainer = {
  /** Builds the step graph of a model and opens its session. */
  create: (model: Model, options: TrainerOptions): Promise<TrainerCore> =>
    TrainerCore.create(model, options, webRuntime),
  /** Goes on from a checkpoint folder, bit for bit where the run stood. */
  resume: (folder: string, overrides: Partial<TrainerOptions> = {}): Promise<TrainerCore> =>
    TrainerCore.resume(folder, overrides, webRuntime),
};
