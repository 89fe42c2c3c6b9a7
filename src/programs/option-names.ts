import { parameterNames, shareNames } from "../analysis/option-names.ts";
import type { OptionNames } from "../known-options.ts";
import type { LossOptions, PrecisionOptions, TrainingFormOptions, UpdateOptions } from "./options.ts";
import type { TrainingOptions } from "./training-gradients.ts";

/** Names of {@link LossOptions}. */
const lossOptionNames = {
  ...{
    batch: true,
    dims: true,
    objective: true,
    loss: true,
    output: true,
    teacher: true,
    teacherOutput: true,
  },
  ...{
    siamese: true,
    penalties: true,
  },
  ...{ ...parameterNames, ...shareNames, detach: "pattern" },
  ...{ recompute: true, checkpointEvery: true, straightThrough: true, onMessage: true },
} as const satisfies OptionNames<LossOptions>;

/** Names of {@link TrainingFormOptions}. */
const formOptionNames = {
  batchNorm: true,
  runningVariance: true,
} as const satisfies OptionNames<TrainingFormOptions>;

/** Names of the options that decide what a training step computes. */
export const updateOptionNames = {
  ...lossOptionNames,
  ...formOptionNames,
  precision: true,
  ...{ optimizer: true, applyPenalties: true, groups: true, noDecay: true, ema: true, swa: true },
} as const satisfies OptionNames<LossOptions & TrainingFormOptions & PrecisionOptions & UpdateOptions>;

/** Names of the options that only a trainer reads. */
export const runOptionNames = {
  ...{ backend: true, stepsPerRun: true, threads: true, allowFallback: true, learningRate: true },
  ...{ schedule: true, penaltyWeight: true, penaltyShare: true, penaltySchedule: true, normalize: true },
  ...{ mixup: true, buckets: true, metrics: true, seed: true, lora: true, onMemory: true },
} as const satisfies Readonly<Record<string, true>>;

/**
 * Names of the options of steps, artifacts and gradients. They take those of a trainer too, so that one object serves them all.
 */
export const stepOptionNames = {
  ...updateOptionNames,
  ...runOptionNames,
  ...{ lower: true, samplesFirst: true, movesMomentum: true, profile: true },
} as const satisfies OptionNames<TrainingOptions & UpdateOptions & { readonly movesMomentum?: boolean }> &
  Readonly<Record<string, true | "pattern">>;
