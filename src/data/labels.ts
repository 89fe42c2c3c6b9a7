import { DataError, messageOf } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import { type CrossEntropyOptions, crossEntropy } from "../losses/cross-entropy.ts";
import type { Objective } from "../losses/objective.ts";
import { type AnyObjective, isCombined, isObjective } from "../losses/terms.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type Column, type Dataset, eachRows, type TargetType } from "./dataset.ts";
import { notOneHot } from "./feed-array.ts";
import { datasetFor } from "./term-labels.ts";
import { tokensOf } from "./token-columns.ts";
import { refuseLabel } from "./watched-labels.ts";

/** The objective that reads the labels of a dataset. */
interface LabelReader {
  readonly objective: Objective;
  /** Shape of the predictions of a batch. */
  readonly prediction: readonly number[];
  /** Samples per batch. */
  readonly batch: number;
}

/**
 * Refuses labels that the objective cannot read. A cross-entropy refuses floats instead of class indices, and indices that
 * are neither a class of the model nor the ignored index.
 * @throws SorthError that names the first such label and the option that helps
 */
export function checkLabels(dataset: Dataset, { objective, prediction, batch }: LabelReader): void {
  const { name, y, labels } = dataset;
  if (objective.labels.absent?.(prediction)) {
    if (y.type === "none") return;
    throw new DataError(
      `${name}: ${labels?.name ?? "y"}: the objective ${objective.name} takes no labels of pairs, whose inputs all belong together: leave the labels out, or use cosine-similarity for pairs with a score`,
    );
  }
  if (y.type === "none") {
    if (objective.labels.own) checkTokens(dataset, prediction);
    return;
  }
  const where = `${name}: ${labels?.name ?? "y"}`;
  const ofClasses = objective.name === "cross-entropy" && objective.labels.type === "int32";
  const elements = elementCount(objective.labels.shape(prediction)) / batch;
  // Class indices are fed to a cross-entropy of probabilities as one number for each class.
  const fewer = y.type === "integer" && elementCount(y.shape) < elements;
  const asShares = fewer && objective.name === "cross-entropy";
  if (fewer && !ofClasses && !asShares) {
    throw new DataError(
      `${where}: labels of one sample have shape ${shapeText(y.shape)}, but "labels" takes ${shapeText(objective.labels.shape(prediction).slice(1))}: use cross-entropy for classes, or give the objective ${objective.name} ${elements} numbers for each sample`,
    );
  }
  if (!ofClasses && !asShares) {
    if (labels)
      eachRows(labels, dataset.size, (values) => checked(where, objective, values, prediction, batch));
    return;
  }
  const classes = prediction[objective.classAxis?.(prediction) ?? 1] ?? 1;
  const perSample = asShares ? elements / classes : elements;
  if (elementCount(y.shape) === classes * perSample) {
    if (labels) checkOneHot(where, labels, dataset.size);
    return;
  }
  if (y.type === "float") {
    throw new DataError(
      `${where} holds floats, but cross-entropy needs class labels; save y as integers or use the objective mse`,
    );
  }
  checkClasses(where, dataset, y, { classes, ignored: objective.options?.ignoreIndex });
}

/** @throws SorthError when the model does not know all tokens of which labels are made */
function checkTokens(dataset: Dataset, prediction: readonly number[]): void {
  const { name, range } = tokensOf(dataset);
  const known = prediction.at(-1) ?? 0;
  const { least, most } = range();
  if (least >= 0 && most < known) return;
  throw new DataError(
    `${dataset.name}: ${name} holds the token ${least < 0 ? least : most}, but the model has scores for ${known} tokens (0 … ${known - 1}): use the tokenizer of the model`,
  );
}

/** An objective adapted to the labels of a dataset. */
interface FittedObjective<O extends AnyObjective = Objective> {
  readonly objective: O;
  /** Message for the user. */
  readonly remark?: string;
}

/**
 * Adapts the cross-entropy to the labels of a dataset: it reads class probabilities if y holds rows of floats that sum to 1,
 * and takes the last axis as classes if a sample has labels at several positions. Other objectives are returned unchanged.
 */
export function objectiveFor<O extends AnyObjective>(objective: O, dataset: Dataset): FittedObjective<O>;
export function objectiveFor(objective: AnyObjective, dataset: Dataset): FittedObjective<AnyObjective> {
  if (!isCombined(objective)) return isObjective(objective) ? fitted(objective, dataset) : { objective };
  const parts = objective.terms.map((term) => {
    const { objective: own, labels: name } = term;
    const isThere = name === undefined || dataset.inputs?.has(name) || dataset.labels?.name === name;
    if (!isObjective(own) || !isThere) return { term, remark: undefined };
    const view = datasetFor(dataset, { name: term.name, ...(name !== undefined && { labels: name }) });
    const { objective: adapted, remark } = fitted(own, view);
    return { term: { ...term, objective: adapted }, remark };
  });
  const remarks = parts.flatMap(({ remark }) => remark ?? []);
  return {
    objective: { ...objective, terms: parts.map(({ term }) => term) },
    ...(remarks.length > 0 && { remark: remarks.join("\n") }),
  };
}

function fitted(objective: Objective, dataset: Dataset): FittedObjective {
  const { labels, y, name, size } = dataset;
  const { options } = objective;
  if (objective.name !== "cross-entropy" || options?.labels !== "classes" || !labels) return { objective };
  const own = options as CrossEntropyOptions;
  if (y.type === "integer") {
    const places = y.shape.length > 0 && own.labelPlaces === 0 ? elementCount(y.shape) : 0;
    const fit = places > 1 ? { ...own, labelPlaces: places } : own;
    // PyTorch's default, which Hugging Face's libraries give to places that do not count.
    if (own.ignoreIndex === "none" && labels.range().least === -100) {
      const remark = `${name}: places with the label -100 do not count`;
      return { objective: crossEntropy({ ...fit, ignoreIndex: -100 }), remark };
    }
    return { objective: fit === own ? objective : crossEntropy(fit) };
  }
  if (y.shape.length === 0 || own.ignoreIndex !== "none" || !holdsShares(labels, size)) return { objective };
  const remark = `${name}: ${labels.name} holds rows that sum to 1: the cross-entropy reads them as class probabilities`;
  return { objective: crossEntropy({ ...own, labels: "probabilities" }), remark };
}

/** Whether every row along the last axis sums to 1, unless all rows are one-hot. */
function holdsShares(labels: Column, size: number): boolean {
  const { least, most, whole } = labels.range();
  if (whole || least < 0 || most > 1) return false;
  const classes = labels.shape.at(-1) ?? 1;
  let all = true;
  eachRows(labels, size, (values) => {
    for (let at = 0; at < values.length && all; at += classes) {
      const sum = values.subarray(at, at + classes).reduce((total, share) => total + share, 0);
      all = Math.abs(sum - 1) < 1e-3;
    }
  });
  return all;
}

function checked(
  where: string,
  objective: Objective,
  values: Float64Array,
  prediction: readonly number[],
  batch: number,
): void {
  try {
    objective.checkLabels(values, [(prediction[0] ?? batch) / batch, ...prediction.slice(1)]);
  } catch (error) {
    throw new DataError(`${where}: ${messageOf(error)}`);
  }
}

function checkClasses(
  where: string,
  { labels, size }: Dataset,
  y: TargetType,
  { classes, ignored }: { classes: number; ignored: unknown },
): void {
  const { least, most } = labels?.range() ?? { least: 0, most: (y.classes ?? 0) - 1 };
  const refuse = (label: number) => refuseLabel(where, label, classes, least !== 0);
  if (!labels) {
    if (most >= classes && most !== ignored) refuse(most);
    return;
  }
  if (least >= 0 && most < classes) return;
  eachRows(labels, size, (values) => {
    for (const label of values) if (label !== ignored && !(label >= 0 && label < classes)) refuse(label);
  });
}

/** @throws SorthError when an element is neither 0 nor 1 */
function checkOneHot(where: string, labels: Column, size: number): void {
  eachRows(labels, size, (values) => {
    const share = values.find((value) => value !== 0 && value !== 1);
    if (share === undefined) return;
    throw new DataError(`${where} holds ${share}: ${notOneHot}`);
  });
}
