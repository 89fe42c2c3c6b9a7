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
export {
  type CosineOptions,
  constant,
  cosine,
  parseSchedule,
  type Schedule,
  type StepDecayOptions,
  scheduleNames,
  sripSchedule,
  stepDecay,
  warmup,
} from "./schedules.ts";
