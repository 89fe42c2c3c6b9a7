import type { AnyObjective } from "../losses/terms.ts";
import type { ClassReport } from "../metrics/class-metrics.ts";
import type { LabelReport } from "../metrics/label-metrics.ts";
import type { Metric } from "../metrics/metric.ts";
import type { NumberReport } from "../metrics/number-metrics.ts";
import type { EvaluationResult } from "./events.ts";
import type { ModelRunOptions } from "./model-run.ts";

/** Options of {@link ModelFunctions.evaluateModel}. */
export interface EvaluateOptions extends ModelRunOptions {
  /** The loss, which also decides which figures are computed; default: the one that the model was trained with, if it records it, else `crossEntropy()`. */
  readonly objective?: AnyObjective;
  /** How many of the samples with the highest loss are listed; default 10. */
  readonly worst?: number;
  /** Further figures, as a trainer's `metrics`: `top5`, `f1`, `auc`, `rmse` …, and those of your own. */
  readonly metrics?: readonly (string | Metric)[];
}

/** A sample with a high loss. */
export interface WorstSample {
  /** Its index in the dataset. */
  readonly sample: number;
  readonly loss: number;
  /** Its class, and the class that it was put into (−1 if its scores are NaN); absent where a sample has no single class. */
  readonly label?: number;
  readonly answer?: number;
}

/** The figures of one loss over a dataset. */
export interface TermFigures {
  /** Mean loss, without penalty. */
  readonly loss: number;
  /** Share of right answers; absent for losses that do not classify. */
  readonly accuracy?: number;
  /** eᴸ of the mean loss L, for a cross-entropy over several places of a sample, such as tokens. */
  readonly perplexity?: number;
  /** For losses of class labels. */
  readonly classes?: ClassReport;
  /** For losses of yes-or-no labels. */
  readonly labels?: LabelReport;
  /** For losses of numbers. */
  readonly numbers?: NumberReport;
}

/** The figures of a model over a dataset. With several losses, `loss` is their weighted sum. */
export interface ModelEvaluation
  extends TermFigures,
    Pick<EvaluationResult, "losses" | "accuracies" | "metrics" | "perClass" | "confusion"> {
  /** Samples that were counted. */
  readonly samples: number;
  /** All figures of each of several losses, by name. */
  readonly outputs?: Readonly<Record<string, TermFigures>>;
  /** The samples with the highest loss, highest first. */
  readonly worst: readonly WorstSample[];
}
