import { setTimeout as pause } from "node:timers/promises";
import type { Probe } from "../analysis/probe.ts";
import type { Dataset } from "../data/dataset.ts";
import { SorthError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import type { MemoryEstimate } from "../runtime/memory-estimate.ts";
import type { Backend } from "../runtime/step-session.ts";
import type { TrainerOptions } from "../runtime/trainer-options.ts";
import { type OperatorTime, profiled } from "./operator-profile-node.ts";
import { peakMemory } from "./peak-memory-node.ts";
import { median, quantile } from "./quantiles.ts";
import { TimedStep, type TimedStepParts } from "./timed-step.ts";

/** A form of the step to time: without a penalty, or with some. */
export interface BenchmarkForm {
  /** The penalties, for the reader; `none` without any. */
  readonly penalty: string;
  readonly model: Model;
  readonly options: TrainerOptions;
}

/** Options of {@link benchmarkStep}. */
interface BenchmarkOptions {
  readonly backends: readonly Backend[];
  readonly probe: Probe;
  /** Default: random samples. */
  readonly dataset?: Dataset | undefined;
  /** Rounds, in each of which all forms run in turn; the median counts. */
  readonly rounds: number;
  /** Least time of a form in a round. */
  readonly milliseconds: number;
  /** Also measure the time of each operator. */
  readonly profile: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (text: string) => void;
}

/** The time of a form of the step on a backend. */
export interface StepTime {
  readonly penalty: string;
  /** Median over the rounds of the mean time of a step. */
  readonly milliseconds: number;
  readonly quartiles: readonly [number, number];
  /** The mean time of a step in each round. */
  readonly rounds: readonly number[];
  readonly samplesPerSecond: number;
  /** Time divided by that of the form without a penalty; absent for that form, and without it. */
  readonly ratio?: number;
  /** Steps in a run of ONNX Runtime. */
  readonly stepsPerRun: number;
  /** Bytes by which opening the step and its first runs raised the peak of the process's memory. */
  readonly memory: number;
  /** The same as estimated before; absent where the state lies on a device. */
  readonly estimatedMemory?: number;
  /** Operators of one step, the slowest first. */
  readonly operators?: readonly OperatorTime[];
}

/** What was measured on a backend, or why nothing was. */
export type BackendTimes =
  | { readonly backend: string; readonly batch: number; readonly steps: readonly StepTime[] }
  | { readonly backend: string; readonly absent: string };

/** A form that is open on a backend. */
interface Contender {
  readonly backend: Backend;
  readonly form: BenchmarkForm;
  readonly step: TimedStep;
  readonly memory: number;
  readonly estimated: number | undefined;
  readonly rounds: number[];
}

/** Runs of a profile that do not count, and that do at most. */
const [skippedRuns, countedRuns] = [3, 20];

/**
 * Times the forms of a training step on every backend, in turns, round by round. A backend that is missing, or does not run the
 * step, is named with the reason.
 */
export async function benchmarkStep(
  forms: readonly BenchmarkForm[],
  options: BenchmarkOptions,
): Promise<BackendTimes[]> {
  const { backends, onProgress } = options;
  const open: Contender[] = [];
  const absent = new Map<Backend, string>();
  try {
    for (const backend of backends) {
      onProgress?.(`opening the step on ${backend.name}`);
      const own = await openedForms(forms, backend, options);
      if (typeof own === "string") absent.set(backend, own);
      else open.push(...own);
    }
    for (let round = 0; round < options.rounds; round++) {
      onProgress?.(`round ${round + 1} of ${options.rounds}`);
      // Another form begins each round, so that none always follows the same one.
      for (let i = 0; i < open.length; i++) {
        options.signal?.throwIfAborted();
        const contender = open[(i + round) % open.length] as Contender;
        // Threads of the form before spin for a while.
        await pause(20);
        contender.rounds.push(await contender.step.time(options.milliseconds));
      }
    }
  } finally {
    for (const { step } of open) await step.release();
  }
  const results: BackendTimes[] = [];
  for (const backend of backends) {
    const reason = absent.get(backend);
    const own = open.filter((one) => one.backend === backend);
    if (reason !== undefined) results.push({ backend: backend.name, absent: reason });
    else results.push(await timesOf(backend, own, options));
  }
  return results;
}

/** Opens all forms on a backend; the reason where it does not run one. */
async function openedForms(
  forms: readonly BenchmarkForm[],
  backend: Backend,
  { probe, dataset }: BenchmarkOptions,
): Promise<Contender[] | string> {
  const open: Contender[] = [];
  try {
    for (const form of forms) {
      peakMemory();
      const before = process.memoryUsage().rss;
      let estimated: number | undefined;
      const onMemory = ({ added }: MemoryEstimate) => {
        estimated = added;
      };
      const parts = { backend, probe, dataset };
      const step = await TimedStep.open(form.model, { ...form.options, onMemory }, parts);
      open.push({ ...{ backend, form, step, estimated }, memory: 0, rounds: [] });
      await step.warmUp();
      const memory = Math.max(0, Math.round(peakMemory() * 2 ** 20 - before));
      open[open.length - 1] = { ...{ backend, form, step, estimated }, memory, rounds: [] };
    }
    return open;
  } catch (error) {
    for (const { step } of open) await step.release();
    // Wrong options are wrong on every backend.
    if (error instanceof SorthError && ["device", "runtime"].includes(error.code)) return error.message;
    throw error;
  }
}

async function timesOf(
  backend: Backend,
  contenders: readonly Contender[],
  { probe, dataset, profile, onProgress }: BenchmarkOptions,
): Promise<BackendTimes> {
  const plain = contenders.find(({ form }) => form.penalty === "none");
  const steps: StepTime[] = [];
  for (const { form, step, memory, estimated, rounds } of contenders) {
    const milliseconds = median(rounds);
    if (profile) onProgress?.(`profile on ${backend.name}, penalty ${form.penalty}`);
    steps.push({
      ...{ penalty: form.penalty, milliseconds, rounds },
      quartiles: [quantile(rounds, 0.25), quantile(rounds, 0.75)],
      samplesPerSecond: (step.batch * 1000) / milliseconds,
      ...(plain && plain.step !== step && { ratio: milliseconds / median(plain.rounds) }),
      ...{ stepsPerRun: step.stepsPerRun, memory },
      ...(estimated !== undefined && { estimatedMemory: estimated }),
      ...(profile && { operators: await operatorsOf(form, { backend, probe, dataset }, milliseconds) }),
    });
  }
  return { backend: backend.name, batch: contenders[0]?.step.batch ?? 0, steps };
}

/** Time by operator, of steps that run one by one. @param milliseconds - of a step, about */
const operatorsOf = (
  { model, options }: BenchmarkForm,
  parts: TimedStepParts,
  milliseconds: number,
): Promise<OperatorTime[]> => {
  const counted = Math.min(countedRuns, Math.max(3, Math.ceil(500 / milliseconds)));
  return profiled(async (profile) => {
    const step = await TimedStep.open(model, { ...options, stepsPerRun: 1 }, { ...parts, profile });
    try {
      for (let run = 0; run < skippedRuns + counted; run++) await step.time(0);
    } finally {
      await step.release();
    }
  }, skippedRuns);
};
