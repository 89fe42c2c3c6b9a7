/**
 * The library on onnxruntime-web: files that a page gets, WebAssembly and WebGPU, and the functions of {@link Library}.
 *
 * @module sorth-onnx/web
 */
import type { loadImages as LoadImages } from "./data/images-web.ts";
import type { Library } from "./library.ts";
import type { Model } from "./onnx/model.ts";
import type { RescuedModel } from "./programs/rescue.ts";
import { buildStep as buildStepWith } from "./programs/step.ts";
import { webProbe } from "./runtime/probe-web.ts";
import type { RescueOptions } from "./runtime/rescue.ts";
import { Trainer as TrainerCore } from "./runtime/trainer.ts";
import type { TrainerOptions } from "./runtime/trainer-options.ts";
import { webRuntime } from "./runtime/web.ts";

/**
 * Settings of the ONNX Runtime that this library uses; change them before the first session. `env` of another entry of
 * onnxruntime-web (for example "onnxruntime-web" itself) belongs to another build: it has no effect here, and importing it
 * doubles the size of the page.
 *
 * @example
 * env.wasm.numThreads = crossOriginIsolated ? 4 : 1;
 */
export { env } from "onnxruntime-web/webgpu";
export * from "./common.ts";
export type { ImageFile, ImageOptions, LoadedImages } from "./data/images-web.ts";
export { modelBlob, readModel, type WebFile } from "./onnx/files-web.ts";

/** @function */
export const buildStep: Library["buildStep"] = (model, options) => buildStepWith(model, options, webProbe);

// Loaded on the first call, because a page that only trains needs none of them. Each is a constant of its own, and not made
// by a list that node shares (index.ts): bundlers drop an unused constant with the file that it would load.

/**
 * Loads images as a dataset, from one folder per class; class folders below `test`, `val` or `validation` hold the test
 * samples. The browser decodes the images (also in a worker) when they are read, those of the next step while a step runs, and stretches them to the requested height and width, or cuts out
 * their middle (`resize: "crop"`); `augment` changes them while training. Pixels are bytes, which a trainer divides by 255 unless the model does that itself or
 * `normalize` says otherwise, as in node. Colours become grey by their luma (0.299 R + 0.587 G + 0.114 B), and transparent pixels
 * become black. Decoded images take one byte per pixel and channel; those beyond `memory` are decoded whenever they are read.
 * A file whose first bytes are no image's is left out (`broken`); an image that turns out to be damaged ends the run with its name.
 * @throws SorthError when there are no images, when they are not in folders, when none can be decoded, and for a shape that
 * is not that of an image
 *
 * @example
 * const files = [...input.files].map((content) => ({ path: content.webkitRelativePath, content }));
 * const { train, test, classes } = await loadImages(files, { shape: [1, 28, 28] });
 *
 * @function
 */
export const loadImages: typeof LoadImages = async (files, options) =>
  (await import("./data/images-web.ts")).loadImages(files, options);

/** @function */
export const inspect: Library["inspect"] = async (model, options = {}) =>
  (await import("./measure/inspect.ts")).inspect(model, options, webProbe);

/** @function */
export const inject: Library["inject"] = async (model, options) =>
  (await import("./inject/inject.ts")).inject(model, options, webProbe);

/** @function */
export const freeBatch: Library["freeBatch"] = async (model, options = {}) =>
  (await import("./free-batch/free-batch.ts")).freeBatch(model, options, webProbe);

/** @function */
export const replaceHead: Library["replaceHead"] = async (model, options) =>
  (await import("./head/replace-head.ts")).replaceHead(model, options, webProbe);

/** @function */
export const recoverBatchNorm: Library["recoverBatchNorm"] = async (model, dataset, options = {}) =>
  (await import("./runtime/recover-batch-norm.ts")).recoverBatchNorm(model, dataset, options, webRuntime);

/** @function */
export const updateBatchNorm: Library["updateBatchNorm"] = async (model, dataset, options = {}) =>
  (await import("./runtime/update-batch-norm.ts")).updateBatchNorm(model, dataset, options, webRuntime);

/** @function */
export const tap: Library["tap"] = async (model, options) =>
  (await import("./tap/tap.ts")).tap(model, options, webProbe);

/** @function */
export const innerValues: Library["innerValues"] = async (model) =>
  (await import("./tap/tap.ts")).innerValues(model, webProbe);

/** @function */
export const addAdapters: Library["addAdapters"] = async (model, options = {}) =>
  (await import("./adapters/add.ts")).addAdapters(model, options, webProbe);

/** @function */
export const mergeAdapters: Library["mergeAdapters"] = async (model, adapters = [], options = {}) =>
  (await import("./adapters/merge.ts")).mergeAdapters(model, adapters, options, webProbe);

/** @function */
export const unmerge: Library["unmerge"] = async (model, adapters, options = {}) =>
  (await import("./adapters/merge.ts")).unmerge(model, adapters, options, webProbe);

/** @function */
export const loadAdapter: Library["loadAdapter"] = async (model, adapter) =>
  (await import("./adapters/load.ts")).loadAdapter(model, adapter, webProbe);

/** @function */
export const encodeOnnxAdapter: Library["encodeOnnxAdapter"] = async (model) =>
  (await import("./adapters/adapter-inputs.ts")).encodeOnnxAdapter(model, webProbe);

/** @function */
export const verify: Library["verify"] = async (original, injected, options = {}) =>
  (await import("./verify/verify.ts")).verify(original, injected, options, webProbe);

/** @function */
export const evaluateModel: Library["evaluateModel"] = async (model, dataset, options = {}) =>
  (await import("./runtime/evaluate-model.ts")).evaluateModel(model, dataset, options, webRuntime);

/** @function */
export const predict: Library["predict"] = async function* (model, dataset, options = {}) {
  yield* (await import("./runtime/predict.ts")).predict(model, dataset, options, webRuntime);
};

/** @function */
export const weightAngles: Library["weightAngles"] = async (model, options = {}) =>
  (await import("./measure/weight-angles.ts")).weightAngles(model, options, webProbe);

/** @function */
export const responseAngles: Library["responseAngles"] = async (model, data, options = {}) =>
  (await import("./measure/response-angles.ts")).responseAngles(model, data, options, webProbe);

/** @function */
export const observe: Library["observe"] = async function* (trainer, dataset, run, options = {}) {
  yield* (await import("./measure/observe.ts")).observe(trainer, dataset, run, options, webProbe);
};

/** @function */
export const trainerAngles: Library["trainerAngles"] = async (trainer, dataset, options = {}) =>
  (await import("./measure/trainer-angles.ts")).trainerAngles(trainer, dataset, options, webProbe);

/** @function */
export const trainSeeds: Library["trainSeeds"] = async (model, dataset, options) =>
  (await import("./measure/train-seeds.ts")).trainSeeds(model, dataset, options, webRuntime);

/** @function */
export const findLearningRate: Library["findLearningRate"] = async (trainer, dataset, options = {}) =>
  (await import("./measure/find-learning-rate.ts")).findLearningRate(trainer, dataset, options, webRuntime);

/** @function */
export const differentiate: Library["differentiate"] = async (model, options) =>
  (await import("./programs/differentiate.ts")).differentiate(model, options, webProbe);

/** @function */
export const buildSplitStep: Library["buildSplitStep"] = async (model, options) =>
  (await import("./programs/split-step.ts")).buildSplitStep(model, options, webProbe);

/** @function */
export const buildArtifacts: Library["buildArtifacts"] = async (model, options) =>
  (await import("./programs/artifacts.ts")).buildArtifacts(model, options, webProbe);

/** @function */
export const exportCheckpoint: Library["exportCheckpoint"] = async (folder, options = {}) =>
  (await import("./runtime/export-checkpoint.ts")).exportCheckpoint(folder, options, webRuntime);

const emptyPage = async () => (await import("./report/pages/blank-document-web.ts")).blankDocument();

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
 * Trains a model on stock ONNX Runtime, on WebAssembly or WebGPU; checkpoint folders lie in the origin private file system.
 * One run of the step graph ({@link Library.buildStep}) does one batch, or several (`stepsPerRun`). The same model, options,
 * data, seed and number of threads give the same bits.
 *
 * @example
 * import { crossEntropy, modelBlob, parseNpz, readModel, som, Trainer } from "sorth-onnx/web";
 *
 * const model = await readModel(await fetch("model.onnx").then((file) => file.arrayBuffer()));
 * const digits = await fetch("digits.npz").then((file) => file.arrayBuffer());
 * const { train } = parseNpz(new Uint8Array(digits), "digits.npz");
 * const trainer = await Trainer.create(model, { objective: crossEntropy(), penalties: [som()], batch: 64 });
 * for await (const event of trainer.fit(train, { epochs: 3 })) {
 *   if (event.event === "epoch") console.log(event.epoch, event.loss, event.accuracy);
 * }
 * const trained = modelBlob(trainer.export());
 * await trainer.release();
 */
export class Trainer extends TrainerCore {
  static override create(model: Model, options: TrainerOptions): Promise<Trainer> {
    return TrainerCore.create(model, options, webRuntime, Trainer);
  }

  static override resume(folder: string, overrides: Partial<TrainerOptions> = {}): Promise<Trainer> {
    return TrainerCore.resume(folder, overrides, webRuntime, Trainer);
  }

  static override rescue(run: RescuedModel, options: RescueOptions = {}): Promise<Trainer> {
    return TrainerCore.rescue(run, options, webRuntime, Trainer);
  }
}
