import type { Probe } from "../analysis/probe.ts";
import type { Model } from "../onnx/model.ts";
import { adamw } from "../optimizers/adamw.ts";
import { buildStep } from "../programs/step.ts";
import { stepLoop } from "../programs/step-loop.ts";
import type { OpenedStep, OpenStepOptions } from "./opened-step.ts";
import { RunLength } from "./run-length.ts";
import type { Backend, StepSession } from "./step-session.ts";
import { timedOptions } from "./timed-options.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/** @throws SorthError where the backend's device is missing or computes in no such precision */
export async function checkRuns(backend: Backend, { precision }: TrainerOptions): Promise<void> {
  await backend.checkDevice?.();
  if (precision !== undefined) await backend.checkPrecision?.(precision);
}

/**
 * Builds the step of a model in the form of a backend, and opens its session.
 * @param beside - a session of another length, whose state this one shares
 * @throws SorthError as buildStep does
 */
export async function openStep(
  model: Model,
  options: OpenStepOptions,
  backend: Backend,
  probe: Probe,
  beside?: StepSession,
): Promise<OpenedStep> {
  const { stepsPerRun = "auto", buckets } = options;
  if (stepsPerRun !== "auto") {
    (await import("./check-trainer-options.ts")).checkStepsPerRun(stepsPerRun, backend);
  }
  if (buckets) {
    return (await import("./buckets.ts")).openBuckets(openStep, model, options, backend, probe);
  }
  const lower = await backend.lowering();
  const { schedule, penaltySchedule } = await timedOptions(options);
  const movesMomentum = schedule?.momentum !== undefined;
  const single = await buildStep(
    model,
    { optimizer: adamw(), ...options, samplesFirst: true, movesMomentum, lower },
    probe,
  );
  if ([penaltySchedule, ...single.penaltySchedules.values()].some((one) => one?.momentum)) {
    throw (await import("../programs/moved-momentum.ts")).movedByPenalty();
  }
  const length = new RunLength(stepsPerRun, backend, single);
  if (options.onMemory && !backend.stateOnDevice) {
    const { estimateMemory } = await import("./memory-estimate.ts");
    const estimate = estimateMemory(single, length.most > 1);
    if (estimate) options.onMemory(estimate);
  }
  const step = length.most > 1 ? stepLoop(single) : single;
  const session = await backend.openStep(step, { ...options, beside });
  // The session holds the first numbers now. Only a run that starts again reads them from the file once more.
  const initial = new Map([...step.initial].map(([name, tensor]) => [name, tensor.unread()]));
  return { step: { ...step, initial }, length, session };
}
