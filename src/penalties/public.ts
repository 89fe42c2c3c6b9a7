/**
 * Penalties (regularizers) for `inject`, `Trainer.create` and `buildStep`, and `definePenalty` for your own.
 *
 * @example
 * import { readModel, Trainer } from "sorth-onnx";
 * import { crossEntropy } from "sorth-onnx/losses";
 * import { so, som } from "sorth-onnx/penalties";
 *
 * const trainer = await Trainer.create(await readModel("model.onnx"), {
 *   objective: crossEntropy(),
 *   penalties: [som(), { penalty: so(), weight: 1e-3, include: /fc/ }],
 *   batch: 64,
 * });
 * await trainer.release();
 *
 * @module sorth-onnx/penalties
 */
export { adalora } from "./adapters/adalora.ts";
export { oLora } from "./adapters/o-lora.ts";
export { oplora } from "./adapters/oplora.ts";
export { definePenalty, type PenaltyFactory } from "./define.ts";
export type { Draw } from "./draws.ts";
export type { PenaltyLayer } from "./layer.ts";
export * from "./on-layers.ts";
export type * from "./penalty.ts";
export type { Matrix, PenaltyReference, PlainAdapter, PlainConvolution, PlainLayer } from "./plain-layer.ts";
export type { FrozenVectors, PenaltyPlan } from "./plan.ts";
export { som } from "./som.ts";
export type { SomOptions } from "./som-options.ts";
export { penaltyNamed, penaltyNames } from "./table.ts";
