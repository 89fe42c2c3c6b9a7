import { loraNames } from "../adapters/option-names.ts";
import { checkDataset } from "../data/check-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { isOfEmbeddings, termsOf } from "../losses/terms.ts";
import {
  anyNumber,
  checkNumber,
  count,
  notNegative,
  positive,
  properShare,
  seedNumber,
  threadCount,
} from "../numbers.ts";
import { checkModel } from "../onnx/check-model.ts";
import type { Model } from "../onnx/model.ts";
import { checkPlanNames } from "../penalties/plan-names.ts";
import { runOptionNames, updateOptionNames } from "../programs/option-names.ts";
import type { ParameterGroup } from "../programs/options.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import { isObject, whatIs } from "../what-is.ts";
import type { ChosenFit, EarlyStop, FitOptions, FitPlan } from "./fit-plan.ts";
import type { OwnEvaluation } from "./own-evaluation.ts";
import type { Backend } from "./step-session.ts";
import type { TrainerOptions } from "./trainer-options.ts";

// Loaded with the checks, and not with the page.
export { FitLoop } from "./fit-loop.ts";
export { OwnEvaluation } from "./own-evaluation.ts";

/** Names of {@link TrainerOptions}. */
export const trainerOptionNames = {
  ...updateOptionNames,
  ...runOptionNames,
} as const satisfies OptionNames<TrainerOptions>;

const groupNames = {
  ...{ match: "pattern", learningRate: true, weightDecay: true, freezeUntil: true },
} as const satisfies OptionNames<ParameterGroup>;

/** Names of {@link FitOptions}. */
export const fitNames = {
  ...{ epochs: true, maxSteps: true, validation: true, checkpoint: "text", monitor: "text", keep: true },
  ...{ earlyStop: true, callbacks: "list", otherData: "flag", signal: "signal" },
} as const satisfies OptionNames<FitOptions>;

/** @throws UsageError for what is no dataset, and for an option that `Trainer.evaluate` does not have */
export function checkEvaluates(dataset: Dataset, options: object): void {
  checkDataset(dataset);
  checkKnown("evaluate", options, { averaged: "flag", signal: "signal" });
}

const earlyStopNames = {
  ...{ patience: true, minimumChange: true, monitor: "text" },
} as const satisfies OptionNames<EarlyStop>;

/**
 * @param stored - the plan of the run that is resumed
 * @throws UsageError for what is no dataset, for an option that a fit does not have, and for one that does nothing
 */
export function checkFitOptions(dataset: Dataset, options: FitOptions, stored: FitPlan | undefined): void {
  checkDataset(dataset);
  checkKnown("fit", options, fitNames);
  if (options.validation !== undefined && typeof options.validation !== "number") {
    checkDataset(options.validation);
  }
  checkNumber("the number of checkpoints to keep", options.keep, count);
  if (options.earlyStop === false && stored && !stored.earlyStop) {
    throw new UsageError("the run does not end early: leave out earlyStop (--no-early-stop)");
  }
  const stop = typeof options.earlyStop === "number" ? { patience: options.earlyStop } : options.earlyStop;
  if (stop !== undefined && stop !== false) {
    checkKnown("earlyStop", stop, earlyStopNames);
    checkNumber("the patience of early stopping", stop.patience, count);
    checkNumber("the minimum change of early stopping", stop.minimumChange, notNegative);
  }
}

/** @throws SorthError for samples that a loss of embeddings cannot pair */
export async function checkFit(
  train: Dataset,
  { objective }: Pick<TrainerOptions, "objective">,
  ports: StepPorts,
): Promise<void> {
  if (objective && termsOf(objective).some((term) => isOfEmbeddings(term.objective))) {
    (await import("../data/pairs.ts")).checkPairs(train, objective, ports);
  }
}

/**
 * Whether options decide between epochs.
 * @throws UsageError where they do, in a run that computes nothing to decide by
 */
export function checkDecides(
  { earlyStop, keep, monitor }: ChosenFit,
  options: FitOptions,
  validation: Dataset | undefined,
): boolean {
  const decides = earlyStop !== undefined || keep !== undefined || monitor !== undefined;
  const asked = earlyStop
    ? "early stopping"
    : keep !== undefined
      ? "keeping the best checkpoints"
      : "a monitored figure";
  if (!validation && decides) {
    throw new UsageError(
      `${asked} needs held-out samples: give validation, as in 0.1 for a tenth of the samples (--validation 0.1)`,
    );
  }
  if (options.keep !== undefined && options.checkpoint === undefined) {
    throw new UsageError("keeping the best checkpoints needs a folder for them: give checkpoint");
  }
  return decides;
}

/**
 * Checks the options of a run that say nothing about its graph.
 * @returns a copy of them, which the caller does not change
 * @throws UsageError for an unknown option, for a value that an option does not accept, and for what is no model
 */
export function checkTrainerOptions(options: TrainerOptions, model: Model): TrainerOptions {
  checkModel(model);
  checkKnown("a Trainer", options, trainerOptionNames);
  if (options.teacher !== undefined) checkModel(options.teacher);
  // A number out of range is refused with what the model says of it.
  if (typeof options.batch !== "number") checkNumber("batch", options.batch, count);
  checkNumber("the learning rate", options.learningRate, notNegative);
  checkNumber("the penalty's weight", options.penaltyWeight, notNegative);
  checkNumber("the penalty's share", options.penaltyShare, properShare);
  if (options.penaltyShare !== undefined && options.penaltyWeight !== undefined) {
    throw new UsageError(
      "give either penaltyWeight (--weight) or penaltyShare (--share): a share chooses the weight",
    );
  }
  checkNumber("alpha of mixup", options.mixup, positive);
  checkBuckets(options);
  checkNumber("the seed", options.seed, seedNumber);
  checkNumber("the number of threads", options.threads, threadCount);
  checkNormalization(options.normalize);
  checkPlanNames(options.penalties ?? []);
  for (const group of options.groups ?? []) checkKnown("a group of parameters", group, groupNames);
  if (options.lora) checkKnown("lora", options.lora, loraNames);
  for (const name of ["schedule", "penaltySchedule"] as const) {
    const schedule: unknown = options[name];
    if (["undefined", "string", "function"].includes(typeof schedule)) continue;
    throw new UsageError(`${name} takes a text, as in "cosine:warmup=100", or a function`);
  }
  return ownCopy(options);
}

/** A copy of what the caller may change while the run goes on. */
function ownCopy(options: TrainerOptions): TrainerOptions {
  const { penalties, groups, metrics, buckets, dims, lora } = options;
  return {
    ...options,
    ...(penalties && { penalties: penalties.map((one) => ("penalty" in one ? { ...one } : one)) }),
    ...(groups && { groups: groups.map((group) => ({ ...group })) }),
    ...(metrics && { metrics: [...metrics] }),
    ...(buckets && { buckets: [...buckets] }),
    ...(dims && { dims: { ...dims } }),
    ...(lora && { lora: { ...lora } }),
  };
}

/** @throws UsageError for a number that is not a positive integer, or is above 1 on a device that does not run Loop */
export function checkStepsPerRun(wanted: number, { name, loops }: Pick<Backend, "name" | "loops">): void {
  if (!count.holds(wanted)) {
    throw new UsageError(`the steps of a run are ${whatIs(wanted)}; give a whole number from 1 on, or auto`);
  }
  if (wanted === 1 || loops) return;
  throw new UsageError(
    `${name} does one step a run: ONNX Runtime runs Loop on the CPU there; leave out stepsPerRun (--steps-per-run)`,
  );
}

/** @throws UsageError for lengths that do not ascend, and for several steps in one run beside them */
export function checkBuckets({
  buckets,
  stepsPerRun = "auto",
}: Pick<TrainerOptions, "buckets" | "stepsPerRun">): void {
  if (buckets === undefined) return;
  for (const length of buckets) checkNumber("the length of a bucket", length, count);
  if (buckets.length === 0 || buckets.some((length, i) => length <= (buckets[i - 1] ?? 0))) {
    throw new UsageError(`buckets are lengths that ascend, as in 32,64,128, not ${buckets.join() || "none"}`);
  }
  if (stepsPerRun !== "auto" && stepsPerRun > 1) {
    throw new UsageError(
      "steps of texts in buckets have different lengths, so that a run does one: leave out stepsPerRun (--steps-per-run)",
    );
  }
}

/** @throws UsageError for an unknown scaling of pixels */
export function checkNormalization(normalize: TrainerOptions["normalize"]): void {
  if (normalize === undefined || normalize === "0..1" || normalize === "none") return;
  if (!isObject(normalize) || !Array.isArray(normalize.mean) || !Array.isArray(normalize.std)) {
    throw new UsageError(
      `normalize takes "0..1", "none" or { mean, std }, not ${typeof normalize === "string" ? `"${normalize}"` : whatIs(normalize)}`,
    );
  }
  for (const number of normalize.mean) checkNumber("a mean of normalize", number, anyNumber);
  for (const number of normalize.std) checkNumber("a standard deviation of normalize", number, positive);
}

/**
 * Checks the samples of a fit, and tells of classes that they lack.
 * @returns those to train on, whose labels are checked as they are read where they cannot be looked through
 * @throws SorthError for labels that the loss cannot take
 */
export async function checkSamples(
  evaluation: OwnEvaluation,
  { train, validation }: { readonly train: Dataset; readonly validation: Dataset | undefined },
  { onMessage }: Pick<TrainerOptions, "onMessage">,
): Promise<Dataset> {
  const watched = await evaluation.check(train);
  if (validation) await evaluation.check(validation);
  const [term, second] = await evaluation.terms();
  const shape = term?.prediction?.shape;
  if (!onMessage || !shape || second || term.objective?.name !== "cross-entropy") return watched;
  const { classRemarks } = await import("../data/class-remarks.ts");
  const classes = shape[term.objective.classAxis?.(shape) ?? 1] ?? 0;
  for (const text of classRemarks(train, validation, classes)) onMessage(text);
  return watched;
}
