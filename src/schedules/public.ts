/**
 * Factors of the learning rate, or of a penalty's weight, over the steps of a run. As text (`cosine:warmup=100`) they need no import.
 *
 * @example
 * import { crossEntropy, readModel, Trainer } from "sorth-onnx";
 * import { cosine } from "sorth-onnx/schedules";
 *
 * const trainer = await Trainer.create(await readModel("model.onnx"), {
 *   objective: crossEntropy(),
 *   schedule: cosine({ warmup: 100 }),
 *   batch: 64,
 * });
 * await trainer.release();
 *
 * @module sorth-onnx/schedules
 */
export { type ConstantOptions, constant } from "./constant.ts";
export { type CosineOptions, cosine } from "./cosine.ts";
export { type CosineRestartsOptions, cosineRestarts } from "./cosine-restarts.ts";
export type { Duration, WarmupOptions } from "./duration.ts";
export { type ExponentialOptions, exponential } from "./exponential.ts";
export { type InverseSqrtOptions, inverseSqrt } from "./inverse-sqrt.ts";
export { type LinearOptions, linear } from "./linear.ts";
export { type MilestonesOptions, milestones } from "./milestones.ts";
export { type OneCycleOptions, oneCycle } from "./one-cycle.ts";
export { type PlateauOptions, plateau } from "./plateau.ts";
export { type PolynomialOptions, polynomial } from "./polynomial.ts";
export type { Schedule, ScheduledRun, ValidatedEpoch } from "./schedule.ts";
export { sripSchedule } from "./srip.ts";
export { type StableDecayOptions, stableDecay } from "./stable-decay.ts";
export { type StepDecayOptions, stepDecay } from "./step-decay.ts";
export { parseSchedule, scheduleNames } from "./table.ts";
export { warmup } from "./warmup.ts";
