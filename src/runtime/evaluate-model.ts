import type { Dataset } from "../data/dataset.ts";
import { objectiveFor } from "../data/labels.ts";
import { dimAt } from "../graph/shapes.ts";
import { crossEntropy } from "../losses/cross-entropy.ts";
import type { Objective } from "../losses/objective.ts";
import { ClassMetrics, type ClassReport } from "../metrics/class-metrics.ts";
import { LabelMetrics, type LabelReport } from "../metrics/label-metrics.ts";
import { NumberMetrics, type NumberReport } from "../metrics/number-metrics.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type BatchOfResults, type ModelRunOptions, modelResults } from "./model-run.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of {@link ModelFunctions.evaluateModel}. */
export interface EvaluateOptions extends ModelRunOptions {
  /** The loss, which also decides which figures are computed; default: `crossEntropy()`. */
  readonly objective?: Objective;
  /** How many of the samples with the highest loss are listed; default 10. */
  readonly worst?: number;
}

/** A sample with a high loss. */
export interface WorstSample {
  /** Its index in the dataset. */
  readonly sample: number;
  readonly loss: number;
  /** Its class, and the class that it was put into; absent where a sample has no single class. */
  readonly label?: number;
  readonly answer?: number;
}

/** The figures of a model over a dataset. */
export interface ModelEvaluation {
  /** Mean loss, without penalty. */
  readonly loss: number;
  /** Share of right answers; absent for losses that do not classify. */
  readonly accuracy?: number;
  /** Samples that were counted. */
  readonly samples: number;
  /** eᴸ of the mean loss L, for a cross-entropy over several places of a sample, such as tokens. */
  readonly perplexity?: number;
  /** For losses of class labels. */
  readonly classes?: ClassReport;
  /** For losses of yes-or-no labels. */
  readonly labels?: LabelReport;
  /** For losses of numbers. */
  readonly numbers?: NumberReport;
  /** The samples with the highest loss, highest first. */
  readonly worst: readonly WorstSample[];
}

/** Losses whose labels are yes or no. */
const yesOrNo = new Set(["bce", "binary-focal"]);
/** Losses that compare numbers. */
const ofNumbers = new Set(["mse", "l1", "huber", "smooth-l1"]);

/** More labels than these for one sample get no figures of their own. */
const mostFigures = 10_000;

/** Evaluates a model as it stands. `ModelFunctions.evaluateModel` documents it. */
export async function evaluateModel(
  model: Model,
  dataset: Dataset,
  options: EvaluateOptions,
  runtime: TrainerRuntime,
): Promise<ModelEvaluation> {
  const { objective, remark } = objectiveFor(options.objective ?? crossEntropy(), dataset);
  if (remark !== undefined) options.onMessage?.(remark);
  const worst = new Worst(options.worst ?? 10);
  let figures: Figures | undefined;
  let [loss, weight, counted, correct, samples, places] = [0, 0, 0, 0, 0, 1];
  let classifies = false;
  for await (const results of modelResults(model, dataset, { objective, labelled: true }, options, runtime)) {
    const { scores, labels, shape, rowsOfSample, count, first } = results;
    figures ??= figuresFor(objective, results);
    const widths = {
      scores: elementCount(shape.slice(1)) * rowsOfSample,
      labels: labelsOfSample(results),
    };
    places = Math.max(places, widths.labels);
    for (let i = 0; i < count; i++) {
      const own = part(scores, i * widths.scores, widths.scores);
      const wanted = part(labels, i * widths.labels, widths.labels);
      const one = objective.evaluate(own, wanted, rowsOfSample, [rowsOfSample, ...shape.slice(1)]);
      const rows = one.counted ?? rowsOfSample;
      const ofSample = one.weight ?? rows;
      loss += one.loss;
      weight += ofSample;
      counted += rows;
      if (one.correct !== undefined) {
        correct += one.correct;
        classifies = true;
      }
      const answer = figures?.add(own, wanted);
      const mean = ofSample === 0 ? 0 : one.loss / ofSample;
      worst.add({
        ...{ sample: first + i, loss: mean },
        ...(answer !== undefined && { label: wanted[0] ?? Number.NaN, answer }),
      });
      samples += 1;
    }
  }
  const mean = weight === 0 ? 0 : loss / weight;
  return {
    loss: mean,
    ...(classifies && { accuracy: counted === 0 ? 0 : correct / counted }),
    samples,
    ...((objective.perplexity || (objective.name === "cross-entropy" && places > 1)) && {
      perplexity: Math.exp(mean),
    }),
    ...figures?.report(),
    worst: worst.list,
  };
}

/** Figures that belong to a kind of labels. */
interface Figures {
  /** Counts one sample. @returns its answer, if the sample is one row of classes */
  add(scores: ArrayLike<number>, labels: ArrayLike<number>): number | undefined;
  report(): Pick<ModelEvaluation, "classes" | "labels" | "numbers">;
}

/** Numbers that are the labels of one sample. */
const labelsOfSample = ({ labels, shape, rowsOfSample }: BatchOfResults): number =>
  (labels.length / (shape[0] ?? 1)) * rowsOfSample;

function figuresFor(objective: Objective, results: BatchOfResults): Figures | undefined {
  if (objective.name === "cross-entropy" && objective.labels.type === "int32")
    return classFigures(objective, results);
  const width = labelsOfSample(results);
  if (width > mostFigures) return undefined;
  if (yesOrNo.has(objective.name)) {
    const metrics = new LabelMetrics(width);
    return {
      add: (scores, wanted) => void metrics.add(scores, wanted),
      report: () => ({ labels: metrics.report() }),
    };
  }
  if (!ofNumbers.has(objective.name)) return undefined;
  const metrics = new NumberMetrics(width);
  return {
    add: (scores, wanted) => void metrics.add(scores, wanted),
    report: () => ({ numbers: metrics.report() }),
  };
}

/** Figures of class labels, at every place of a sample that has one. */
function classFigures(objective: Objective, { shape, rowsOfSample }: BatchOfResults): Figures {
  const axis = objective.classAxis?.(shape) ?? 1;
  const classes = dimAt(shape, axis);
  const inner = elementCount(shape.slice(axis + 1));
  const metrics = new ClassMetrics(classes);
  return {
    add: (scores, labels) => {
      let answer: number | undefined;
      for (let place = 0; place < labels.length; place++) {
        const label = labels[place] ?? -1;
        if (label === objective.options.ignoreIndex || label < 0 || label >= classes) continue;
        const from = Math.floor(place / inner) * classes * inner + (place % inner);
        const own = Array.from({ length: classes }, (_, c) => scores[from + c * inner] ?? Number.NaN);
        answer = metrics.add(own, label);
      }
      return labels.length === 1 && rowsOfSample === 1 ? answer : undefined;
    },
    report: () => ({ classes: metrics.report() }),
  };
}

const part = (values: ArrayLike<number>, from: number, length: number): ArrayLike<number> =>
  Array.from({ length }, (_, i) => values[from + i] ?? Number.NaN);

/** The samples with the highest loss. */
class Worst {
  readonly list: WorstSample[] = [];
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  add(sample: WorstSample): void {
    const last = this.list.at(-1);
    if (this.list.length >= this.#most && last && sample.loss <= last.loss) return;
    const at = this.list.findIndex(({ loss }) => sample.loss > loss);
    this.list.splice(at < 0 ? this.list.length : at, 0, sample);
    if (this.list.length > this.#most) this.list.pop();
  }
}
