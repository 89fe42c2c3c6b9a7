/**
 * Optimizers and the gradient transformations that they are chains of: the `optimizer` of `Trainer.create` and `buildStep`.
 *
 * @example
 * import { crossEntropy, readModel, Trainer } from "sorth-onnx";
 * import { chain, clipByGlobalNorm, sgd } from "sorth-onnx/optimizers";
 *
 * const trainer = await Trainer.create(await readModel("model.onnx"), {
 *   objective: crossEntropy(),
 *   optimizer: chain(clipByGlobalNorm(1), sgd({ momentum: 0.9 })),
 *   batch: 64,
 * });
 * await trainer.release();
 *
 * @module sorth-onnx/optimizers
 */
export type { NumberRange } from "../numbers.ts";
export { accumulate } from "./accumulate.ts";
export { adafactor, scaleByFactoredRms } from "./adafactor.ts";
export { adagrad, scaleBySumOfSquares } from "./adagrad.ts";
export { adam } from "./adam.ts";
export { adamw } from "./adamw.ts";
export { adamwOrt } from "./adamw-ort.ts";
export { chain } from "./chain.ts";
export type { Definition as OptimizerDefinition, Factory as OptimizerFactory } from "./define.ts";
export { type EachParameter, eachParameter, type ParameterSlot } from "./each-parameter.ts";
export { lamb } from "./lamb.ts";
export { lion, scaleByLion } from "./lion.ts";
export { muon } from "./muon.ts";
export { nadam, scaleByNadam } from "./nadam.ts";
export {
  type Optimizer,
  type OptimizerInputs,
  type OptimizerNumbers,
  type PerParameterOptimizer,
  perParameter,
} from "./optimizer.ts";
export type { Chosen, Given, OptionRanges } from "./options.ts";
export { rmsprop, scaleByRms } from "./rmsprop.ts";
export { sgd } from "./sgd.ts";
export { optimizerNamed, optimizerNames, transformationNamed } from "./table.ts";
export type {
  GradientTransformation,
  LayerMatrix,
  OptimizerOptions,
  ParameterSpec,
  SlotSpec,
  TransformationInputs,
  TransformationNumbers,
} from "./transformation.ts";
export { averageEqually } from "./transformations/average-equally.ts";
export { averageUpdates } from "./transformations/average-updates.ts";
export { averageWeights } from "./transformations/average-weights.ts";
export { clipByGlobalNorm } from "./transformations/clip-by-global-norm.ts";
export { clipByValue } from "./transformations/clip-by-value.ts";
export { momentum } from "./transformations/momentum.ts";
export { orthogonalize } from "./transformations/orthogonalize.ts";
export { scaleByAdam } from "./transformations/scale-by-adam.ts";
export { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
export { scaleBySign } from "./transformations/scale-by-sign.ts";
export { scaleByTrustRatio } from "./transformations/scale-by-trust-ratio.ts";
export { addDecayedWeights, decayWeights } from "./transformations/weight-decay.ts";
export { Update, type UpdateByResult, type UpdateParts } from "./update.ts";
