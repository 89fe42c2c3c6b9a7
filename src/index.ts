/**
 * The library on onnxruntime-node: files, all backends of node, and the functions of {@link Library}.
 *
 * @module sorth-onnx
 */

import { writeOnnxAdapter as writeOnnxAdapterWith } from "./adapters/adapter-files-node.ts";
import { encodeOnnxAdapter as encodeOnnxAdapterWith } from "./adapters/adapter-inputs.ts";
import { addAdapters as addAdaptersWith } from "./adapters/add.ts";
import { loadAdapter as loadAdapterWith } from "./adapters/load.ts";
import { mergeAdapters as mergeAdaptersWith, unmerge as unmergeWith } from "./adapters/merge.ts";
import { freeBatch as freeBatchWith } from "./free-batch/free-batch.ts";
import { replaceHead as replaceHeadWith } from "./head/replace-head.ts";
import { inject as injectWith } from "./inject/inject.ts";
import type { Library } from "./library.ts";
import { type BenchOptions, bench as benchWith } from "./measure/bench-node.ts";
import { findLearningRate as findLearningRateWith } from "./measure/find-learning-rate.ts";
import { inspect as inspectWith } from "./measure/inspect.ts";
import { observe as observeWith } from "./measure/observe.ts";
import { responseAngles as responseAnglesWith } from "./measure/response-angles.ts";
import type { BackendTimes } from "./measure/step-benchmark-node.ts";
import { trainSeeds as trainSeedsWith } from "./measure/train-seeds.ts";
import { trainerAngles as trainerAnglesWith } from "./measure/trainer-angles.ts";
import { weightAngles as weightAnglesWith } from "./measure/weight-angles.ts";
import type { Model } from "./onnx/model.ts";
import type { WriteOptions } from "./onnx/write-file.ts";
import { buildArtifacts as buildArtifactsWith } from "./programs/artifacts.ts";
import { differentiate as differentiateWith } from "./programs/differentiate.ts";
import type { RescuedModel } from "./programs/rescue.ts";
import { buildSplitStep as buildSplitStepWith } from "./programs/split-step.ts";
import { buildStep as buildStepWith } from "./programs/step.ts";
import { evaluateModel as evaluateModelWith } from "./runtime/evaluate-model.ts";
import { exportCheckpoint as exportCheckpointWith } from "./runtime/export-checkpoint.ts";
import { nodeRuntime } from "./runtime/node.ts";
import { predict as predictWith } from "./runtime/predict.ts";
import { recoverBatchNorm as recoverBatchNormWith } from "./runtime/recover-batch-norm.ts";
import type { RescueOptions } from "./runtime/rescue.ts";
import { Trainer as TrainerCore } from "./runtime/trainer.ts";
import type { TrainerOptions } from "./runtime/trainer-options.ts";
import { updateBatchNorm as updateBatchNormWith } from "./runtime/update-batch-norm.ts";
import { innerValues as innerValuesWith, tap as tapWith } from "./tap/tap.ts";
import { verify as verifyWith } from "./verify/verify.ts";

export { readAdapter, writeAdapter } from "./adapters/adapter-files-node.ts";
export { readCheckpoint, writeCheckpoint } from "./artifacts/checkpoint-files-node.ts";
export * from "./common.ts";
export { conversionKey, conversionOf, withConversion } from "./data/conversion.ts";
export { loadData, loadNpz } from "./data/load-node.ts";
export { loadMnist, type MnistOptions } from "./data/mnist-node.ts";
export type { DataOptions } from "./data/options.ts";
export type { Truncation } from "./data/text/tokenizer.ts";
export {
  type Distributed,
  type DistributedFit,
  type DistributeOptions,
  distribute,
} from "./distribute/distribute-node.ts";
export { objectiveNamed, objectiveNames } from "./losses/public.ts";
export type { BenchOptions } from "./measure/bench-node.ts";
export type { OperatorTime } from "./measure/operator-profile-node.ts";
export type { BackendTimes, StepTime } from "./measure/step-benchmark-node.ts";
export { readModel, writeModel } from "./onnx/files-node.ts";
export type { WriteOptions } from "./onnx/write-file.ts";
export { optimizerNamed, optimizerNames } from "./optimizers/public.ts";
export { ProgressLine, type ProgressOptions, type ProgressStream } from "./report/progress.ts";
export { formatTable, type TableColumn } from "./report/table.ts";
export type { HyperParameters } from "./report/tensorboard/event-file.ts";
export { TensorBoardLog, type TensorBoardOptions, tensorboard } from "./report/tensorboard/log-node.ts";
export { type RescueFileOptions, rescueFiles } from "./runtime/rescue-files-node.ts";
export { parseSchedule } from "./schedules/public.ts";

const { probe } = nodeRuntime;

// The same constants as in web.ts, which loads most of these functions on their first call. One list for both, called with
// the probe, would make each export the result of a call, which bundlers keep in every page with the files it would load.

/** @function */
export const inspect: Library["inspect"] = (model, options = {}) => inspectWith(model, options, probe);

/** @function */
export const inject: Library["inject"] = (model, options) => injectWith(model, options, probe);

/** @function */
export const freeBatch: Library["freeBatch"] = (model, options = {}) => freeBatchWith(model, options, probe);

/** @function */
export const replaceHead: Library["replaceHead"] = (model, options) => replaceHeadWith(model, options, probe);

/** @function */
export const recoverBatchNorm: Library["recoverBatchNorm"] = (model, dataset, options = {}) =>
  recoverBatchNormWith(model, dataset, options, nodeRuntime);

/** @function */
export const updateBatchNorm: Library["updateBatchNorm"] = (model, dataset, options = {}) =>
  updateBatchNormWith(model, dataset, options, nodeRuntime);

/** @function */
export const tap: Library["tap"] = (model, options) => tapWith(model, options, probe);

/** @function */
export const innerValues: Library["innerValues"] = (model) => innerValuesWith(model, probe);

/** @function */
export const addAdapters: Library["addAdapters"] = (model, options = {}) =>
  addAdaptersWith(model, options, probe);

/** @function */
export const mergeAdapters: Library["mergeAdapters"] = (model, adapters = [], options = {}) =>
  mergeAdaptersWith(model, adapters, options, probe);

/** @function */
export const unmerge: Library["unmerge"] = (model, adapters, options = {}) =>
  unmergeWith(model, adapters, options, probe);

/** @function */
export const loadAdapter: Library["loadAdapter"] = (model, adapter) => loadAdapterWith(model, adapter, probe);

/** @function */
export const encodeOnnxAdapter: Library["encodeOnnxAdapter"] = (model) => encodeOnnxAdapterWith(model, probe);

/**
 * Writes the adapter of a model in ONNX Runtime's format, and beside it the graph that takes it: `x.onnx_adapter` and
 * `x.inputs.onnx`. In Python a session of that graph takes the file as a `LoraAdapter`, by `RunOptions.add_active_adapter`.
 * @param model - with adapters beside its layers
 * @returns the files that were written
 * @throws UsageError if a file exists and `force` is not set, or for a model of IR version 3
 *
 * @example
 * import { addAdapters, readModel, writeOnnxAdapter } from "sorth-onnx";
 *
 * await writeOnnxAdapter(await addAdapters(await readModel("model.onnx")), "my.onnx_adapter");
 */
export const writeOnnxAdapter = (model: Model, path: string, options: WriteOptions = {}): Promise<string[]> =>
  writeOnnxAdapterWith(model, path, options, probe);

/** @function */
export const verify: Library["verify"] = (original, injected, options = {}) =>
  verifyWith(original, injected, options, probe);

/** @function */
export const evaluateModel: Library["evaluateModel"] = (model, dataset, options = {}) =>
  evaluateModelWith(model, dataset, options, nodeRuntime);

/** @function */
export const predict: Library["predict"] = (model, dataset, options = {}) =>
  predictWith(model, dataset, options, nodeRuntime);

/** @function */
export const weightAngles: Library["weightAngles"] = (model, options = {}) =>
  weightAnglesWith(model, options, probe);

/** @function */
export const responseAngles: Library["responseAngles"] = (model, data, options = {}) =>
  responseAnglesWith(model, data, options, probe);

/** @function */
export const observe: Library["observe"] = (trainer, dataset, run, options = {}) =>
  observeWith(trainer, dataset, run, options, probe);

/** @function */
export const trainerAngles: Library["trainerAngles"] = (trainer, dataset, options = {}) =>
  trainerAnglesWith(trainer, dataset, options, probe);

/** @function */
export const findLearningRate: Library["findLearningRate"] = (trainer, dataset, options = {}) =>
  findLearningRateWith(trainer, dataset, options, nodeRuntime);

/** @function */
export const trainSeeds: Library["trainSeeds"] = (model, dataset, options) =>
  trainSeedsWith(model, dataset, options, nodeRuntime);

/**
 * Times a training step without a penalty and with those of the options or of the model, on every backend that is here, in
 * turns, round by round. A backend that is missing, or does not run the step, is named with the reason.
 *
 * @param model - it is not changed
 * @param options - those of a trainer, and how the step is timed
 * @returns for each backend: milliseconds a step, quartiles, samples a second, memory and, with `profile`, the time of each operator
 * @throws UsageError for an unknown backend, and as a trainer does
 *
 * @example
 * import { bench, crossEntropy, readModel, som } from "sorth-onnx";
 *
 * const [cpu] = await bench(await readModel("model.onnx"), {
 *   ...{ objective: crossEntropy(), penalties: [som()], batch: 32 },
 *   ...{ backends: ["cpu"], rounds: 3, roundTime: 50 },
 * });
 * if (cpu && "steps" in cpu) console.log(cpu.steps.map(({ penalty, milliseconds }) => [penalty, milliseconds]));
 */
export const bench = (model: Model, options: BenchOptions): Promise<BackendTimes[]> =>
  benchWith(model, options, nodeRuntime);

/** @function */
export const differentiate: Library["differentiate"] = (model, options) =>
  differentiateWith(model, options, probe);

/** @function */
export const buildStep: Library["buildStep"] = (model, options) => buildStepWith(model, options, probe);

/** @function */
export const buildSplitStep: Library["buildSplitStep"] = (model, options) =>
  buildSplitStepWith(model, options, probe);

/** @function */
export const buildArtifacts: Library["buildArtifacts"] = (model, options) =>
  buildArtifactsWith(model, options, probe);

/** @function */
export const exportCheckpoint: Library["exportCheckpoint"] = (folder, options = {}) =>
  exportCheckpointWith(folder, options, nodeRuntime);

const emptyPage = async () => (await import("./report/pages/blank-document.ts")).blankDocument();

/** @function */
export const angleReportPage: Library["angleReportPage"] = async (models, options = {}) =>
  (await import("./report/pages/angle-page.ts")).anglePage(await emptyPage(), models, options);

/** @function */
export const runReportPage: Library["runReportPage"] = async (run, options = {}) =>
  (await import("./report/pages/run-page.ts")).runPage(await emptyPage(), run, options);

/** @function */
export const evaluationReportPage: Library["evaluationReportPage"] = async (
  evaluation,
  dataset,
  options = {},
) =>
  (await import("./report/pages/evaluation-page.ts")).evaluationPage(
    await emptyPage(),
    evaluation,
    dataset,
    options,
  );

/**
 * Trains a model on stock ONNX Runtime, on the CPU, with CUDA or with WebGPU. One run of the step graph ({@link Library.buildStep}) does one batch, or several
 * (`stepsPerRun`). The same model, options, data, seed and number of threads give the same bits.
 *
 * @example
 * import { crossEntropy, loadMnist, readModel, som, Trainer, writeModel } from "sorth-onnx";
 *
 * const model = await readModel("model.onnx");
 * const { train, test } = await loadMnist();
 * const trainer = await Trainer.create(model, { objective: crossEntropy(), penalties: [som()], batch: 64 });
 * for await (const event of trainer.fit(train, { maxSteps: 20, validation: 0.1 })) {
 *   if (event.event === "epoch") console.log(event.epoch, event.loss, event.accuracy);
 * }
 * if (test) console.log(await trainer.evaluate(test));
 * await writeModel(trainer.export(), "trained.onnx");
 * await trainer.release();
 */
export class Trainer extends TrainerCore {
  static override create(model: Model, options: TrainerOptions): Promise<Trainer> {
    return TrainerCore.create(model, options, nodeRuntime, Trainer);
  }

  static override resume(folder: string, overrides: Partial<TrainerOptions> = {}): Promise<Trainer> {
    return TrainerCore.resume(folder, overrides, nodeRuntime, Trainer);
  }

  static override rescue(run: RescuedModel, options: RescueOptions = {}): Promise<Trainer> {
    return TrainerCore.rescue(run, options, nodeRuntime, Trainer);
  }
}
