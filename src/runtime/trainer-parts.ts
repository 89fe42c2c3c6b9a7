import type { Step } from "../programs/step.ts";
import type { TrainedModel } from "./adapted-model.ts";
import type { StepBuckets } from "./opened-step.ts";
import type { OwnEvaluation } from "./own-evaluation.ts";
import type { RunLength } from "./run-length.ts";
import type { RunOptions } from "./run-options.ts";
import type { Backend } from "./step-session.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Parts that a trainer is made of. */
export interface TrainerParts extends TrainedModel, Omit<RunOptions, "options"> {
  readonly step: Step;
  readonly backend: Backend;
  readonly length: RunLength;
  readonly buckets?: StepBuckets | undefined;
  readonly runtime: TrainerRuntime;
  /** Loaded with what checks the options, not with the page. */
  readonly Evaluation: typeof OwnEvaluation;
}
