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
export { definePenalty, type PenaltyFactory } from "./define.ts";
export type { Draw } from "./draws.ts";
export type { PenaltyLayer } from "./layer.ts";
export type * from "./penalty.ts";
export type { Matrix, PenaltyReference, PlainConvolution, PlainLayer } from "./plain-layer.ts";
export type { PenaltyPlan } from "./plan.ts";
export { barlow } from "./responses/barlow.ts";
export { decov } from "./responses/decov.ts";
export { vicreg } from "./responses/vicreg.ts";
export { som } from "./som.ts";
export type { SomOptions } from "./som-options.ts";
export { penaltyNamed, penaltyNames } from "./table.ts";
export { biggan } from "./weights/biggan.ts";
export { dso } from "./weights/dso.ts";
export { type KerasOptions, keras } from "./weights/keras.ts";
export { lorth } from "./weights/lorth.ts";
export { mc } from "./weights/mc.ts";
export { type MheOptions, mhe } from "./weights/mhe.ts";
export { mma } from "./weights/mma.ts";
export { type OcnnOptions, ocnn } from "./weights/ocnn.ts";
export { so } from "./weights/so.ts";
export { type SpectralSoOptions, spectralSo } from "./weights/spectral-so.ts";
export { type SripOptions, srip } from "./weights/srip.ts";
