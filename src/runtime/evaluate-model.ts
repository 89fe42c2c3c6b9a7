import { conversionOf } from "../data/conversion.ts";
import type { Dataset } from "../data/dataset.ts";
import { objectiveFor } from "../data/labels.ts";
import {
  type RecordedLoss,
  type RecordedObjective,
  recordedLoss,
  recordedObjective,
} from "../data/recorded-objective.ts";
import { UsageError } from "../errors.ts";
import { given } from "../given.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { crossEntropy } from "../losses/cross-entropy.ts";
import type { Objective } from "../losses/objective.ts";
import { objectiveText } from "../losses/objective-text.ts";
import { isCombined, isObjective, isOfEmbeddings, type NamedTerm, termsOf } from "../losses/terms.ts";
import { ClassMetrics } from "../metrics/class-metrics.ts";
import { classesOf, classRows } from "../metrics/class-rows.ts";
import { LabelMetrics } from "../metrics/label-metrics.ts";
import { type MeasuringPass, part } from "../metrics/measuring.ts";
import type { Metric } from "../metrics/metric.ts";
import { NumberMetrics } from "../metrics/number-metrics.ts";
import { checkMetrics, kindOf } from "../metrics/table.ts";
import { checkNumber, countFromZero } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount } from "../onnx/tensor.ts";
import { injectedObjective } from "../programs/injected-objective.ts";
import { checkRunOptions, modelRunNames } from "./check-run-options.ts";
import { joinedFigures } from "./evaluator.ts";
import { measuredTerm } from "./measured-term.ts";
import type { EvaluateOptions, ModelEvaluation, TermFigures, WorstSample } from "./model-evaluation.ts";
import { modelResults, type ReadValue, type ValueResults } from "./model-run.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** More labels than these for one sample get no figures of their own. */
const mostFigures = 10_000;

const evaluateNames = {
  ...modelRunNames,
  ...{ objective: true, worst: true, metrics: "list" },
} as const satisfies OptionNames<EvaluateOptions>;

/** Evaluates a model as it stands. `ModelFunctions.evaluateModel` documents it. */
export async function evaluateModel(
  model: Model,
  dataset: Dataset,
  options: EvaluateOptions,
  runtime: TrainerRuntime,
): Promise<ModelEvaluation> {
  checkKnown("evaluateModel", options, evaluateNames);
  checkRunOptions(options, model, dataset);
  if (options.objective !== undefined) termsOf(options.objective);
  checkNumber("the number of worst samples", options.worst, countFromZero);
  checkMetrics(options.metrics ?? []);
  const recorded = askedObjective(model, options);
  if ("loss" in recorded) {
    const { evaluateInGraph } = await import("./evaluate-in-graph.ts");
    return evaluateInGraph(model, dataset, { ...options, ...recorded }, runtime);
  }
  const { objective: asked, output } = recorded;
  const { objective, remark } = objectiveFor(asked, dataset);
  if (remark !== undefined) options.onMessage?.(remark);
  if (isCombined(objective) && options.objective) refuseOutput(options);
  const terms = termsOf(objective, output);
  if (!terms.every((term) => isObjective(term.objective) && !isOfEmbeddings(term.objective))) {
    const { evaluateInGraph } = await import("./evaluate-in-graph.ts");
    return evaluateInGraph(
      model,
      dataset,
      { ...options, ...(output !== undefined && { output }), objective },
      runtime,
    );
  }
  const counted = terms.map((term) => new CountedTerm(term, term.objective as Objective));
  const worst = new Worst(options.worst ?? 10);
  const { metrics = [] } = options;
  let measured: { readonly term: number; readonly pass: MeasuringPass } | undefined;
  let samples = 0;
  let undefinedFirst: number | undefined;
  let undefinedSamples = 0;
  const read = { wanted: counted.map(({ wanted }) => wanted), labelled: true };
  for await (const { values, samples: counting } of modelResults(model, dataset, read, options, runtime)) {
    if (metrics.length > 0) {
      measured ??= measuredPass(metrics, terms, values);
      measured.pass.add({ ...(values[measured.term] as ValueResults), count: counting.length });
    }
    for (const [i, sample] of counting.entries()) {
      const own = counted.map((term, k) => term.add(values[k] as ValueResults, i));
      const loss = own.reduce((sum, one, k) => sum + one.loss * (terms[k]?.weight ?? 1), 0);
      worst.add({ ...(own.length === 1 ? own[0] : {}), sample, loss });
      if (!Number.isFinite(loss)) {
        undefinedFirst = Math.min(sample, undefinedFirst ?? sample);
        undefinedSamples += 1;
      }
      samples += 1;
    }
  }
  if (undefinedFirst !== undefined) {
    options.onMessage?.(
      `${undefinedSamples} of ${samples} samples have no finite loss, the first is sample ${undefinedFirst}`,
    );
  }
  const figures = counted.map((term) => term.figures());
  const all = terms.map(({ name, weight }, k) => ({ name, weight, figures: figures[k] as TermFigures }));
  return {
    ...(figures.length === 1 ? figures[0] : {}),
    ...joinedFigures(all.map(({ figures: { loss, accuracy }, ...term }) => ({ ...term, loss, accuracy }))),
    ...(all.length > 1 && { outputs: Object.fromEntries(all.map((one) => [one.name, one.figures])) }),
    ...measured?.pass.report({ accuracy: undefined, ...(figures[measured.term] as TermFigures) }),
    ...{ samples, worst: worst.list },
  };
}

/** The loss that the options give, else the one that the model was trained with, else the cross-entropy. */
function askedObjective(
  model: Model,
  { objective, output, onMessage }: EvaluateOptions,
): RecordedObjective | Pick<RecordedLoss, "loss"> {
  const trained = recordedLoss(model);
  if (objective) {
    return {
      objective,
      ...given({ output: output ?? (isCombined(objective) ? undefined : trained?.scores) }),
    };
  }
  const recorded = recordedObjective(model, output);
  if (recorded || (trained && output === undefined)) {
    const name = recorded ? objectiveText(recorded.objective) : `"${trained?.loss}", the model's own`;
    onMessage?.(`loss: ${name}, which the model was trained with; objective (--objective) names another`);
    if (recorded) return recorded;
    const { loss = "", objective: inside, isObjective: isWhole, scores } = trained ?? {};
    return inside && isWhole ? { objective: inside, ...given({ output: scores }) } : { loss };
  }
  const injected = injectedObjective(model, { ...given({ output, onMessage }) });
  if (injected) return injected;
  const { ownLoss, loss = ownLoss } = conversionOf(model) ?? {};
  if (loss !== undefined) {
    const why = trained ? "its own" : "which its file does not hold";
    onMessage?.(
      `loss: cross-entropy; the model was trained with "${loss}", ${why}: objective (--objective) names another loss`,
    );
  }
  return { objective: crossEntropy(), ...given({ output }) };
}

/** Begins to compute metrics of the first loss for which they are defined. @returns its index too */
function measuredPass(
  metrics: readonly (string | Metric)[],
  terms: readonly NamedTerm[],
  values: readonly ValueResults[],
) {
  const [first] = values;
  const batch = first ? (first.shape[0] ?? 1) / first.rowsOfSample : 1;
  const measurable = terms.map(({ objective, mask }, term) => ({
    ...{ term, objective: objective as Objective },
    ...{ shape: values[term]?.shape, isMasked: mask !== undefined },
  }));
  const { term, begin } = measuredTerm(metrics, measurable, batch);
  return { term, pass: begin() };
}

/** @throws UsageError for a prediction beside losses that name their own */
function refuseOutput({ output }: EvaluateOptions): void {
  if (output === undefined) return;
  throw new UsageError(
    `"${output}" was given as the prediction, but each loss of a combined objective names its own: write output=${output} there`,
  );
}

/** Sums of one loss over samples. */
class CountedTerm {
  readonly wanted: ReadValue;
  readonly #objective: Objective;
  readonly #sums = { loss: 0, weight: 0, counted: 0, correct: 0, places: 1, classifies: false };
  #figures: Figures | undefined;
  #seen = false;

  constructor(term: NamedTerm, objective: Objective) {
    this.#objective = objective;
    this.wanted = { ...term, objective };
  }

  /** Counts one sample of a batch. @returns its loss and, if it is one row of classes, its class and answer */
  add(results: ValueResults, i: number): Pick<WorstSample, "loss" | "label" | "answer"> {
    const { scores, labels, mask: ofBatch, shape, rowsOfSample } = results;
    const objective = this.#objective;
    const sums = this.#sums;
    if (!this.#seen) this.#figures = figuresFor(objective, results);
    this.#seen = true;
    const ofSample = (values: ArrayLike<number>, width: number) => part(values, i * width, width);
    const samples = (shape[0] ?? 1) / rowsOfSample;
    const own = ofSample(scores, elementCount(shape.slice(1)) * rowsOfSample);
    const wanted = ofSample(labels, labels.length / samples);
    const mask = ofBatch && ofSample(ofBatch, ofBatch.length / samples);
    sums.places = Math.max(sums.places, wanted.length);
    const one = objective.evaluate(own, wanted, rowsOfSample, [rowsOfSample, ...shape.slice(1)], mask);
    const rows = one.counted ?? rowsOfSample;
    const weight = one.weight ?? rows;
    sums.loss += one.loss;
    sums.weight += weight;
    sums.counted += rows;
    if (one.correct !== undefined) {
      sums.correct += one.correct;
      sums.classifies = true;
    }
    const answer = this.#figures?.add(own, wanted, mask);
    return {
      loss: weight === 0 ? 0 : one.loss / weight,
      ...(answer !== undefined && { label: wanted[0] ?? Number.NaN, answer }),
    };
  }

  figures(): TermFigures {
    const { loss, weight, counted, correct, places, classifies } = this.#sums;
    const mean = weight === 0 ? 0 : loss / weight;
    return {
      loss: mean,
      ...(classifies && { accuracy: counted === 0 ? 0 : correct / counted }),
      ...((this.#objective.perplexity || (this.#objective.name === "cross-entropy" && places > 1)) && {
        perplexity: Math.exp(mean),
      }),
      ...this.#figures?.report(),
    };
  }
}

/** Figures that belong to a kind of labels. */
interface Figures {
  /** Counts one sample. @returns its answer, if the sample is one row of classes */
  add(scores: ArrayLike<number>, labels: ArrayLike<number>, mask?: ArrayLike<number>): number | undefined;
  report(): Pick<TermFigures, "classes" | "labels" | "numbers">;
}

/** Numbers that are the labels of one sample. */
const labelsOfSample = ({ labels, shape, rowsOfSample }: ValueResults): number =>
  (labels.length / (shape[0] ?? 1)) * rowsOfSample;

function figuresFor(objective: Objective, results: ValueResults): Figures | undefined {
  const kind = kindOf(objective);
  if (kind === "classes") return classFigures(objective, results);
  const width = labelsOfSample(results);
  // These figures compare the same label of all samples, which a mask leaves out of some.
  if (width > mostFigures || results.mask) return undefined;
  if (kind === "yes-or-no labels") {
    const metrics = new LabelMetrics(width);
    return {
      add: (scores, wanted) => void metrics.add(scores, wanted),
      report: () => ({ labels: metrics.report() }),
    };
  }
  if (kind !== "numbers") return undefined;
  const metrics = new NumberMetrics(width);
  return {
    add: (scores, wanted) => void metrics.add(scores, wanted),
    report: () => ({ numbers: metrics.report() }),
  };
}

/** Figures of class labels, at every place of a sample that has one. */
function classFigures(objective: Objective, { shape, rowsOfSample }: ValueResults): Figures {
  const metrics = new ClassMetrics(classesOf(objective, shape));
  const rows = classRows(objective, shape);
  return {
    add: (scores, labels, mask) => {
      const answers = rows(scores, labels, mask).map((row) => metrics.add(row.scores, row.label));
      return labels.length === 1 && rowsOfSample === 1 ? answers[0] : undefined;
    },
    report: () => ({ classes: metrics.report() }),
  };
}

/** The number by which losses are sorted: one that is not defined comes first. */
const height = ({ loss }: WorstSample): number => (Number.isNaN(loss) ? Number.POSITIVE_INFINITY : loss);

/** The samples with the highest loss. */
class Worst {
  readonly list: WorstSample[] = [];
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  add(sample: WorstSample): void {
    const last = this.list.at(-1);
    if (this.list.length >= this.#most && last && height(sample) <= height(last)) return;
    const at = this.list.findIndex((other) => height(sample) > height(other));
    this.list.splice(at < 0 ? this.list.length : at, 0, sample);
    if (this.list.length > this.#most) this.list.pop();
  }
}
