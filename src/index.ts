import type { Dataset } from "./data/dataset.ts";
import { inject as injectWith } from "./inject/inject.ts";
import type { InjectOptions } from "./inject/options.ts";
import type {
  AngleReport,
  LayerResponseAngles,
  LayerWeightAngles,
  ResponseAngleOptions,
} from "./measure/angle-report.ts";
import { type Inspection, type InspectOptions, inspect as inspectWith } from "./measure/inspect.ts";
import { type ObservationEvent, type ObserveOptions, observe as observeWith } from "./measure/observe.ts";
import { responseAngles as responseAnglesWith } from "./measure/response-angles.ts";
import type { Feeds } from "./measure/sample-chunks.ts";
import {
  type TrainerAngleOptions,
  type TrainerAngles,
  trainerAngles as trainerAnglesWith,
} from "./measure/trainer-angles.ts";
import { type WeightAngleOptions, weightAngles as weightAnglesWith } from "./measure/weight-angles.ts";
import type { Model } from "./onnx/model.ts";
import {
  type ArtifactOptions,
  type Artifacts,
  buildArtifacts as buildArtifactsWith,
} from "./programs/artifacts.ts";
import {
  type DifferentiateOptions,
  differentiate as differentiateWith,
  type GradientModel,
} from "./programs/differentiate.ts";
import type { RescuedModel } from "./programs/rescue.ts";
import { buildSplitStep as buildSplitStepWith, type SplitStep } from "./programs/split-step.ts";
import { buildStep as buildStepWith, type Step, type StepOptions } from "./programs/step.ts";
import type { AnglePageOptions, PageModel } from "./report/pages/angle-page.ts";
import type { RunPageOptions } from "./report/pages/run-page.ts";
import { type RunRecord, runRecord } from "./report/run-record.ts";
import type { TrainingEvent } from "./runtime/events.ts";
import {
  type ExportCheckpointOptions,
  exportCheckpoint as exportCheckpointWith,
} from "./runtime/export-checkpoint.ts";
import { nodeRuntime } from "./runtime/node.ts";
import type { RescueOptions } from "./runtime/rescue.ts";
import { Trainer as TrainerCore } from "./runtime/trainer.ts";
import type { TrainerOptions } from "./runtime/trainer-options.ts";
import { type VerifyOptions, type VerifyReport, verify as verifyWith } from "./verify/verify.ts";

export { readCheckpoint, writeCheckpoint } from "./artifacts/checkpoint-files-node.ts";
export * from "./common.ts";
export { loadData, loadNpz } from "./data/load-node.ts";
export { loadMnist } from "./data/mnist-node.ts";
export { readModel, writeModel } from "./onnx/files-node.ts";
export type { AnglePageOptions, PageModel } from "./report/pages/angle-page.ts";
export type { RunPageOptions } from "./report/pages/run-page.ts";
export { pictures } from "./report/pictures.ts";
export { ProgressLine } from "./report/progress.ts";
export { parseRunRecord, type RunRecord, runRecord } from "./report/run-record.ts";
export { formatTable } from "./report/table.ts";
export { type RescueFileOptions, rescueFiles } from "./runtime/rescue-files-node.ts";

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

/** {@link trainerAnglesWith} on onnxruntime-node. */
export function trainerAngles(
  trainer: TrainerCore,
  dataset: Dataset,
  options: TrainerAngleOptions = {},
): Promise<TrainerAngles[]> {
  return trainerAnglesWith(trainer, dataset, options, nodeRuntime.probe);
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

/** {@link exportCheckpointWith} out of a folder of files. */
export function exportCheckpoint(folder: string, options: ExportCheckpointOptions = {}): Promise<Model> {
  return exportCheckpointWith(folder, options, nodeRuntime);
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
  /** Goes on where a run of ONNX Runtime's training API stood: {@link TrainerCore.rescue}. */
  rescue: (run: RescuedModel, options: RescueOptions = {}): Promise<TrainerCore> =>
    TrainerCore.rescue(run, options, nodeRuntime),
};
