import type { Dataset } from "./data/dataset.ts";
import type { InjectOptions } from "./inject/options.ts";
import type {
  AngleReport,
  LayerResponseAngles,
  LayerWeightAngles,
  ResponseAngleOptions,
} from "./measure/angle-report.ts";
import type { Inspection, InspectOptions } from "./measure/inspect.ts";
import type { ObservationEvent, ObserveOptions } from "./measure/observe.ts";
import type { Feeds } from "./measure/sample-chunks.ts";
import type { TrainerAngleOptions, TrainerAngles } from "./measure/trainer-angles.ts";
import type { WeightAngleOptions } from "./measure/weight-angles.ts";
import type { Model } from "./onnx/model.ts";
import type { ArtifactOptions, Artifacts } from "./programs/artifacts.ts";
import type { DifferentiateOptions, GradientModel } from "./programs/differentiate.ts";
import type { RescuedModel } from "./programs/rescue.ts";
import type { SplitStep } from "./programs/split-step.ts";
import { buildStep as buildStepOn, type Step, type StepOptions } from "./programs/step.ts";
import type { TrainingEvent } from "./runtime/events.ts";
import type { ExportCheckpointOptions } from "./runtime/export-checkpoint.ts";
import { webProbe } from "./runtime/probe-web.ts";
import type { RescueOptions } from "./runtime/rescue.ts";
import { Trainer as TrainerCore } from "./runtime/trainer.ts";
import type { TrainerOptions } from "./runtime/trainer-options.ts";
import { webRuntime } from "./runtime/web.ts";
import type { VerifyOptions, VerifyReport } from "./verify/verify.ts";

/**
 * Settings of the ONNX Runtime that this library computes with, before the first session. `env` of another entry of
 * onnxruntime-web ("onnxruntime-web" itself, say) is that of another build: it has no effect here, and doubles the page.
 *
 * @example
 * env.wasm.numThreads = crossOriginIsolated ? 4 : 1;
 */
export { env } from "onnxruntime-web/webgpu";
export * from "./common.ts";
export { type ImageFile, type ImageOptions, type LoadedImages, loadImages } from "./data/images-web.ts";
export { modelBlob, readModel, type WebFile } from "./onnx/files-web.ts";

/** Lists layers, parameters and remarks of a model, on onnxruntime-web. Its code is loaded when it is called. */
export async function inspect(model: Model, options: InspectOptions = {}): Promise<Inspection> {
  const { inspect: inspectOn } = await import("./measure/inspect.ts");
  return inspectOn(model, options, webProbe);
}

/**
 * Adds penalties to a model, on onnxruntime-web. Its code is loaded when it is called.
 *
 * @example
 * const model = await inject(await readModel(file), { penalties: [som()] });
 */
export async function inject(model: Model, options: InjectOptions): Promise<Model> {
  const { inject: injectOn } = await import("./inject/inject.ts");
  return injectOn(model, options, webProbe);
}

/** Verifies an injected model on onnxruntime-web. Its code is loaded when it is called: a page that trains needs none of it. */
export async function verify(
  original: Model,
  injected: Model,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  const { verify: verifyOn } = await import("./verify/verify.ts");
  return verifyOn(original, injected, options, webProbe);
}

/** Weight angles, measured with onnxruntime-web. Its code is loaded when it is called. */
export async function weightAngles(
  model: Model,
  options: WeightAngleOptions = {},
): Promise<AngleReport<LayerWeightAngles>> {
  const { weightAngles: weightAnglesOn } = await import("./measure/weight-angles.ts");
  return weightAnglesOn(model, options, webProbe);
}

/** Response angles, measured with onnxruntime-web. Its code is loaded when it is called. */
export async function responseAngles(
  model: Model,
  data: Feeds,
  options: ResponseAngleOptions = {},
): Promise<AngleReport<LayerResponseAngles>> {
  const { responseAngles: responseAnglesOn } = await import("./measure/response-angles.ts");
  return responseAnglesOn(model, data, options, webProbe);
}

/** The angles of a run as it stands, measured with onnxruntime-web. Its code is loaded when it is called. */
export async function trainerAngles(
  trainer: TrainerCore,
  dataset: Dataset,
  options: TrainerAngleOptions = {},
): Promise<TrainerAngles[]> {
  const { trainerAngles: trainerAnglesOn } = await import("./measure/trainer-angles.ts");
  return trainerAnglesOn(trainer, dataset, options, webProbe);
}

/** Watches a run, measured with onnxruntime-web. Its code is loaded when it is called. */
export async function* observe(
  trainer: TrainerCore,
  dataset: Dataset,
  run: AsyncIterable<TrainingEvent>,
  options: ObserveOptions = {},
): AsyncGenerator<TrainingEvent | ObservationEvent, void, undefined> {
  const { observe: observeOn } = await import("./measure/observe.ts");
  yield* observeOn(trainer, dataset, run, options, webProbe);
}

/** Builds the gradient graph of a model, on onnxruntime-web. Its code is loaded when it is called. */
export async function differentiate(model: Model, options: DifferentiateOptions): Promise<GradientModel> {
  const { differentiate: differentiateOn } = await import("./programs/differentiate.ts");
  return differentiateOn(model, options, webProbe);
}

/** {@link buildStepOn} on onnxruntime-web. */
export function buildStep(model: Model, options: StepOptions): Promise<Step> {
  return buildStepOn(model, options, webProbe);
}

/** Builds a training step in two graphs, on onnxruntime-web. Its code is loaded when it is called. */
export async function buildSplitStep(model: Model, options: StepOptions): Promise<SplitStep> {
  const { buildSplitStep: buildSplitStepOn } = await import("./programs/split-step.ts");
  return buildSplitStepOn(model, options, webProbe);
}

/** Builds artifacts of ONNX Runtime's training API with onnxruntime-web. Its code is loaded when it is called. */
export async function buildArtifacts(model: Model, options: ArtifactOptions): Promise<Artifacts> {
  const { buildArtifacts: buildArtifactsOn } = await import("./programs/artifacts.ts");
  return buildArtifactsOn(model, options, webProbe);
}

/** The trained model out of a run's checkpoint folder in the origin private file system. Its code is loaded when it is called. */
export async function exportCheckpoint(
  folder: string,
  options: ExportCheckpointOptions = {},
): Promise<Model> {
  const { exportCheckpoint: exportOn } = await import("./runtime/export-checkpoint.ts");
  return exportOn(folder, options, webRuntime);
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
  /** Goes on where a run of ONNX Runtime's training API stood: {@link TrainerCore.rescue}. */
  rescue: (run: RescuedModel, options: RescueOptions = {}): Promise<TrainerCore> =>
    TrainerCore.rescue(run, options, webRuntime),
};
