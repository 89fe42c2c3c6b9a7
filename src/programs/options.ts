import type { Objective } from "../losses/objective.ts";
import type { Penalty } from "../penalties/penalty.ts";
import type { PenaltyPlan } from "../penalties/plan.ts";

/** How a model becomes a loss: which part of it is trained, and what is minimized. */
export interface LossOptions {
  /** Batch size for models whose first input dimension is free. Default: the model's own; required if it has none. */
  readonly batch?: number;
  /** Sizes of other free dimensions, by the name that the model gives them. */
  readonly dims?: Readonly<Record<string, number>>;
  /** What the model's prediction is compared with labels by. Left out for a model that holds its loss. */
  readonly objective?: Objective;
  /** Name of the value that is the loss, for a model that holds it. */
  readonly loss?: string;
  /** The value that `objective` reads, an output or an inner value; default: the first output of floats. */
  readonly output?: string;
  /** Regularizers, alone or with their layers, weights and schedules; a model with an injected block brings its own and takes no others. */
  readonly penalties?: readonly (Penalty | PenaltyPlan)[];
  /** Only parameters whose name matches are trained (and whatever else it names becomes one). */
  readonly trainable?: RegExp;
  /** What matches is trained beside what is trained anyway, whatever it is. */
  readonly alsoTrain?: RegExp;
  /** Parameters whose name matches stay as they are. */
  readonly freeze?: RegExp;
  /** Shared initializers whose name matches stay one parameter. */
  readonly tie?: RegExp;
  /** Shared initializers whose name matches become one parameter for each reader. */
  readonly untie?: RegExp;
  /**
   * Computes cheap activations (elementwise operators) again in the backward pass instead of keeping them: less memory, more
   * time. Numbers differ by rounding at most, where ONNX Runtime fuses operators whose results are no longer kept. Default
   * false.
   */
  readonly recompute?: boolean;
  /** Told what the user should know: skipped layers, frozen parameters. */
  readonly onMessage?: (message: string) => void;
}

/** How BatchNormalization and Dropout run while training (DESIGN §5.10). */
export interface TrainingFormOptions {
  /** "train" (default): batch statistics, running statistics are state. "frozen": the stored statistics. */
  readonly batchNorm?: "train" | "frozen";
  /** Variance that goes into running statistics: "onnx" (biased, default) or "torch" (N/(N−1)). */
  readonly runningVariance?: "onnx" | "torch";
}
