import { conversionOf } from "../data/conversion.ts";
import { type Dataset, eachRows } from "../data/dataset.ts";
import { oneHotClass } from "../data/feed-array.ts";
import { objectiveFor } from "../data/labels.ts";
import type { Normalization } from "../data/normalize.ts";
import { datasetFor } from "../data/term-labels.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import { crossEntropy } from "../losses/cross-entropy.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { withTaughtLosses } from "../losses/teaching.ts";
import { type CombinedObjective, combined, isObjective, type NamedTerm } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/** What a run with a teacher does otherwise than others. */
export interface Taught {
  /** The run's options, with losses that say whether they read the teacher. */
  readonly options: TrainerOptions;
  /** The options of an evaluation on a dataset: the same object for datasets whose labels are of one kind. */
  readonly evaluated: (dataset: Dataset | undefined, options: TrainerOptions) => TrainerOptions;
  /** @throws UsageError for samples that are scaled otherwise than those on which the teacher was trained */
  readonly check: (normalize: Normalization | undefined) => void;
}

/** @param given - the options of a run @throws UsageError where no loss reads the teacher */
export function taughtRun(model: Model, given: TrainerOptions & { readonly teacher: Model }): Taught {
  const { teacher } = given;
  const kinds = new Map<string, TrainerOptions>();
  return {
    options: withTaughtLosses(given),
    evaluated: (dataset, options) => {
      if (dataset && isWithoutLabels(dataset, options.objective as CombinedObjective)) return options;
      const measured = withLabels(model, options.objective as CombinedObjective, dataset);
      const kind = JSON.stringify(measured);
      const { teacher: _, teacherOutput: __, ...rest } = options;
      const known = kinds.get(kind) ?? { ...rest, objective: measured };
      kinds.set(kind, known);
      return known;
    },
    check: (normalize = "none") => checkScale(teacher, normalize),
  };
}

function checkScale(teacher: Model, normalize: Normalization): void {
  const before = conversionOf(teacher);
  if (!before) return;
  const { normalize: wanted = "none" } = before;
  if (JSON.stringify(wanted) === JSON.stringify(normalize)) return;
  const text = (scale: Normalization) =>
    typeof scale === "string" ? scale : `mean=${scale.mean.join("/")},std=${scale.std.join("/")}`;
  throw new UsageError(
    `the teacher was trained on samples scaled by --normalize ${text(wanted)}, and this run scales them by ${text(normalize)}: both read the same numbers, so give --normalize ${text(wanted)}`,
  );
}

/** Whether the data hold no labels, and no loss needs any: then evaluations compare with the teacher too. */
const isWithoutLabels = ({ y }: Dataset, { terms }: CombinedObjective): boolean =>
  y.type === "none" && terms.every(({ teacher, labels }) => teacher !== false && labels === undefined);

/**
 * The losses of an evaluation against labels. A loss that reads the teacher gives its weight to the one of the same output that reads
 * labels or, if there is none, to the cross-entropy for labels that are classes, and else reads the labels itself.
 */
function withLabels(
  model: Model,
  { terms }: CombinedObjective,
  dataset: Dataset | undefined,
): CombinedObjective {
  const own = terms.filter(({ teacher }) => teacher === false).map((term) => ({ ...term }));
  const more: NamedTerm[] = [];
  for (const term of terms) {
    if (term.teacher === false) continue;
    const beside = own.find(({ output }) => output === term.output);
    const added = more.find(({ output }) => output === term.output);
    if (beside) beside.weight += term.weight;
    else if (!added) more.push(labelledTerm(model, term, dataset));
  }
  const all = [...own, ...more];
  return combined(all.length === 1 ? all.map((term) => ({ ...term, weight: 1 })) : all);
}

/** A loss that reads labels in place of the teacher. */
function labelledTerm(model: Model, term: NamedTerm, dataset: Dataset | undefined): NamedTerm {
  const { objective, output } = term;
  const without = { ...term, teacher: false };
  if (!isObjective(objective)) return without;
  const view = dataset && datasetFor(dataset, term);
  const ofClasses = ["distillation", "kl", "cross-entropy"].includes(objective.name);
  const readsClasses = view?.y.type === "integer" && hasScores(model, objective, output);
  if (!ofClasses && (!readsClasses || isAnswerEach(view, objective.name))) return without;
  const { classAxis } = objective.options;
  const classes = crossEntropy(classAxis === -1 ? { classAxis } : {});
  return {
    ...without,
    ...{ name: "cross-entropy", objective: view ? objectiveFor(classes, view).objective : classes },
  };
}

/** Whether a sample has a list of labels that are not one class: an answer for each score, as `bce` reads them. */
function isAnswerEach({ y, labels, size }: Dataset, loss: string): boolean {
  const [answers = 0, ...more] = y.shape;
  if (!labels || answers < 2 || more.length > 0) return false;
  if (loss === "bce" || loss === "binary-focal") return true;
  let isClass = true;
  eachRows(labels, size, (values) => {
    for (let at = 0; at < values.length && isClass; at += answers) {
      isClass = oneHotClass(values.subarray(at, at + answers), 0, answers, 1) >= 0;
    }
  });
  return !isClass;
}

/** Whether a value holds scores of several classes, as far as the file says. */
function hasScores(
  model: Model,
  objective: Parameters<typeof choosePrediction>[1],
  output?: string,
): boolean {
  const { declared } = choosePrediction(graphOf(model), objective, output).value;
  return declared === undefined || (declared.length > 1 && declared[1] !== 1);
}
