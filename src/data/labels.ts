import { DataError, messageOf } from "../errors.ts";
import { type CrossEntropyOptions, crossEntropy } from "../losses/cross-entropy.ts";
import type { Objective } from "../losses/objective.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type Column, type Dataset, eachRows, type TargetType } from "./dataset.ts";

/** What reads the labels of a dataset. */
export interface LabelReader {
  readonly objective: Objective;
  /** Shape of the predictions of a batch. */
  readonly prediction: readonly number[];
  /** Samples of a batch. */
  readonly batch: number;
}

/**
 * Refuses labels that a loss cannot read: of a cross-entropy, floats in place of class indices, and indices that are neither
 * a class of the model nor the one that is ignored.
 * @throws SorthError naming the first of them, and the option that helps
 */
export function checkLabels(dataset: Dataset, { objective, prediction, batch }: LabelReader): void {
  const { name, y, labels } = dataset;
  if (y.type === "none") return;
  const where = `${name}: ${labels?.name ?? "y"}`;
  const ofClasses = objective.name === "cross-entropy" && objective.labels.type === "int32";
  if (!ofClasses) {
    if (labels)
      eachRows(labels, dataset.size, (values) => checked(where, objective, values, prediction, batch));
    return;
  }
  const classes = prediction[objective.classAxis?.(prediction) ?? 1] ?? 1;
  const perSample = elementCount(objective.labels.shape(prediction)) / batch;
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

/** An objective that reads the labels of a dataset. */
export interface FittedObjective {
  readonly objective: Objective;
  /** What the user should know. */
  readonly remark?: string;
}

/**
 * The cross-entropy in the form that the labels of a dataset need: of shares of classes where y holds floats that sum to 1,
 * with the classes on the last axis where each of several places of a sample has a label. Other objectives stay as they are.
 */
export function objectiveFor(objective: Objective, dataset: Dataset): FittedObjective {
  const { labels, y, name, size } = dataset;
  const { options } = objective;
  if (objective.name !== "cross-entropy" || options?.labels !== "classes" || !labels) return { objective };
  const own = options as CrossEntropyOptions;
  if (y.type === "integer") {
    const labelPlaces = y.shape.length > 0 && own.labelPlaces === 0 ? elementCount(y.shape) : 0;
    return { objective: labelPlaces > 1 ? crossEntropy({ ...own, labelPlaces }) : objective };
  }
  if (y.shape.length === 0 || own.ignoreIndex !== "none" || !holdsShares(labels, size)) return { objective };
  const remark = `${name}: ${labels.name} holds shares of classes, which sum to 1: the cross-entropy reads them as probabilities`;
  return { objective: crossEntropy({ ...own, labels: "probabilities" }), remark };
}

/** Whether every row of a last axis sums to 1, without being one 1 among zeros throughout. */
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
  const refuse = (label: number) => {
    throw new DataError(
      `${where} holds the label ${label}, but the model has ${classes} classes (0 … ${classes - 1}); a label that marks what does not count is left out with --ignore-index ${label}, numbers to be predicted are for the objective mse`,
    );
  };
  if (!labels) {
    if ((y.classes ?? 0) > classes && (y.classes ?? 0) - 1 !== ignored) refuse((y.classes ?? 0) - 1);
    return;
  }
  const { least, most } = labels.range();
  if (least >= 0 && most < classes) return;
  eachRows(labels, size, (values) => {
    for (const label of values) if (label !== ignored && !(label >= 0 && label < classes)) refuse(label);
  });
}

/** @throws SorthError where an element is neither 0 nor 1 */
function checkOneHot(where: string, labels: Column, size: number): void {
  eachRows(labels, size, (values) => {
    const share = values.find((value) => value !== 0 && value !== 1);
    if (share === undefined) return;
    throw new DataError(
      `${where} holds shares of classes (${share}): --labels probabilities (crossEntropy({ labels: "probabilities" })) reads them`,
    );
  });
}
