import type { Library } from "./library.ts";

/*
 * Functions that need no ONNX Runtime, the same in node and in browsers. Each is loaded on its first call, because most pages
 * need none of them.
 */

/** @function */
export const adapterOf: Library["adapterOf"] = async (model) =>
  (await import("./adapters/load.ts")).adapterOf(model);

/** @function */
export const augmentedDataset: Library["augmentedDataset"] = async (dataset, changes) =>
  (await import("./data/images/augmented.ts")).augmentedDataset(dataset, changes);

/** @function */
export const decodeAdapter: Library["decodeAdapter"] = async (tensors, config) =>
  (await import("./adapters/peft-file.ts")).decodeAdapter(tensors, config);

/** @function */
export const decodeOnnxAdapter: Library["decodeOnnxAdapter"] = async (bytes) =>
  (await import("./adapters/onnx-adapter-file.ts")).decodeOnnxAdapter(bytes);

/** @function */
export const encodeAdapter: Library["encodeAdapter"] = async (adapter) =>
  (await import("./adapters/peft-file.ts")).encodeAdapter(adapter);

/** @function */
export const foldBatchNorm: Library["foldBatchNorm"] = async (model) =>
  (await import("./batch-norm/fold-batch-norm.ts")).foldBatchNorm(model);

/** @function */
export const generatorDataset: Library["generatorDataset"] = async (generate, options) =>
  (await import("./data/generator-dataset.ts")).generatorDataset(generate, options);

/** @function */
export const sampleFeeds: Library["sampleFeeds"] = async (model, dataset, count, options) =>
  (await import("./data/sample-feeds.ts")).sampleFeeds(model, dataset, count, options);

/** @function */
export const trainablePart: Library["trainablePart"] = async (model, part, options = {}) =>
  (await import("./programs/trainable-part.ts")).trainablePart(model, part, options);
