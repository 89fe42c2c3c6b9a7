import { parameterNames, shareNames } from "../analysis/option-names.ts";
import type { OptionKind, OptionNames } from "../known-options.ts";
import type { LossOptions, PrecisionOptions, TrainingFormOptions, UpdateOptions } from "./options.ts";
import type { TrainingOptions } from "./training-gradients.ts";

/** Names of {@link LossOptions}. */
const lossOptionNames = {
  ...{
    batch: true,
    dims: "lengths",
    objective: true,
    loss: "text",
    output: "text",
    teacher: true,
    teacherOutput: "text",
  },
  ...{
    siamese: true,
    penalties: "list",
  },
  ...{ ...parameterNames, ...shareNames, detach: "pattern" },
  ...{ recompute: "flag", checkpointEvery: true, straightThrough: "flag", onMessage: "function" },
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
  ...{ optimizer: true, applyPenalties: true, groups: "list", noDecay: "flag", ema: true, swa: true },
} as const satisfies OptionNames<LossOptions & TrainingFormOptions & PrecisionOptions & UpdateOptions>;

/** Names of the options that only a trainer reads. */
export const runOptionNames = {
  ...{ backend: "text", stepsPerRun: true, threads: true, allowFallback: "flag", learningRate: true },
  ...{ schedule: true, penaltyWeight: true, penaltyShare: true, penaltySchedule: true, normalize: true },
  ...{ mixup: true, buckets: "list", metrics: "list", seed: true, lora: true, onMemory: "function" },
} as const satisfies Readonly<Record<string, OptionKind>>;

/**
 * Names of the options of steps, artifacts and gradients. They take those of a trainer too, so that one object serves them all.
 */
export const stepOptionNames = {
  ...updateOptionNames,
  ...runOptionNames,
  ...{ lower: true, samplesFirst: "flag", movesMomentum: "flag", profile: "text" },
} as const satisfies OptionNames<
  TrainingOptions & UpdateOptions & { readonly movesMomentum?: boolean; readonly profile?: string }
>;
