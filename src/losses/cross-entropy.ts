import { DataError, UsageError } from "../errors.ts";
import { allAxes, dimAt, type Shape } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { checkNumber, countFromZero, decimal, notNegative, share } from "../numbers.ts";
import { elementCount } from "../onnx/tensor.ts";
import { focus } from "./binary.ts";
import { classAxisOf, labelShape, placeOf } from "./class-scores.ts";
import { buildCrossEntropy, type CrossEntropySettings, injectedCrossEntropy } from "./cross-entropy-graph.ts";
import { type Evaluation, type Objective, withDefaults } from "./objective.ts";

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** Share α of the target that is spread evenly over all classes, 0 (default) to 1; torch's `label_smoothing`. */
  readonly labelSmoothing?: number;
  /**
   * A label that is not a class: rows with it do not count in the mean (torch's `ignore_index`). Default: none. A batch with
   * only such rows has the loss 0 here, but NaN in injected files, as in ONNX Runtime and torch.
   */
  readonly ignoreIndex?: number | "none";
  /** `classes` (default): the index of each row's class. `probabilities`: one number per class, with sum 1. */
  readonly labels?: "classes" | "probabilities";
  /** The class axis of the prediction: 1 (default, as in torch), or −1 for the last one. */
  readonly classAxis?: 1 | -1;
  /**
   * Number of labels per sample, 0 (default) if unknown. If it fits the last axis as class axis but not axis 1, the last axis
   * counts the classes (`[N, tokens, classes]`).
   */
  readonly labelPlaces?: number;
  /**
   * A weight for each class, to weigh rare classes up: `[1, 5, 2.5]`, or the same as text, `1,5,2.5`. As in torch, the mean over
   * class labels is divided by the sum of their weights. Default "none".
   */
  readonly classWeights?: readonly number[] | string;
  /**
   * γ of the focal loss (arXiv 1708.02002): each row's loss times (1 − p)^γ, p the probability of its class; 0 (default) or at
   * least 1. Only for class labels without smoothing.
   */
  readonly focus?: number;
}

const name = "cross-entropy";
/** The label that marks places to leave out, as in torch. */
const usualIgnored = -100;
const defaults: Required<CrossEntropyOptions> = {
  ...{ labelSmoothing: 0, ignoreIndex: "none", labels: "classes", classAxis: 1, labelPlaces: 0 },
  ...{ classWeights: "none", focus: 0 },
};

/**
 * Cross-entropy of logits `[N, classes]`, `[N, classes, …]` or `[N, …, classes]` with class labels `[N]` or `[N, …]`:
 * the mean of log Σ exp(x) − x[label]. It consists of operators that every backend runs.
 *
 * @throws UsageError for an unknown option or a value out of range.
 *
 * @example
 * await Trainer.create(model, { objective: crossEntropy() });
 *
 * @example
 * // Labels of tokens, [N, T] for logits [N, T, classes], with -100 where none counts, as Hugging Face's libraries write them.
 * // The command line and `evaluateModel` see both in the data; a Trainer has none when it builds the step, and is told.
 * await Trainer.create(model, { objective: crossEntropy({ classAxis: -1, ignoreIndex: -100 }) });
 */
export function crossEntropy(options: CrossEntropyOptions = {}): Objective {
  const kept = withDefaults<CrossEntropyOptions>(name, defaults, options);
  // Options are kept as text in files and checkpoints.
  const classWeights = typeof kept.classWeights === "string" ? kept.classWeights : kept.classWeights.join();
  const settings: CrossEntropySettings = { ...kept, weights: weightsOf(classWeights) };
  checkSettings(settings);
  const shares = settings.labels === "probabilities";
  const axisOf = (prediction: Shape) => classAxisOf(prediction, settings);
  return madeHere({
    name,
    options: { ...kept, classWeights },
    activations: ["Softmax", "LogSoftmax"],
    classAxis: axisOf,
    labels: {
      type: shares ? "float" : "int32",
      shape: (prediction) => labelShape(prediction, settings),
    },
    maskShape: (prediction) => labelShape(prediction, { ...settings, labels: "classes" }),
    ...(shares && { maskedAxis: axisOf }),
    build: (g, prediction, labels, mask) => {
      if (!mask || shares) return buildCrossEntropy(g, prediction, labels, settings, mask);
      const ignoreIndex = settings.ignoreIndex === "none" ? usualIgnored : settings.ignoreIndex;
      const kept = g.where(g.greater(mask, 0), labels, ignoreIndex);
      return buildCrossEntropy(g, prediction, kept, { ...settings, ignoreIndex });
    },
    injected: {
      labels: shares ? "prediction" : "int64",
      axes: (prediction) =>
        allAxes(prediction.length).filter((axis) => shares || axis !== axisOf(prediction)),
      build: (g, prediction, labels) => injectedCrossEntropy(g, prediction, labels, settings),
    },
    evaluate: (predictions, labels, rows, shape, mask) =>
      crossEntropyOf(predictions, labels, rows, shape, settings, mask),
    checkLabels: (labels, shape) => {
      if (shares) checkShares(labels, shape, axisOf(shape));
      else checkClasses(labels, dimAt(shape, axisOf(shape)), settings.ignoreIndex);
    },
  });
}

/** The numbers of the option classWeights; undefined without weights. @throws UsageError for anything but numbers of at least 0 */
function weightsOf(text: string): readonly number[] | undefined {
  if (text === "none") return undefined;
  if (text === "balanced") {
    throw new UsageError(
      "balanced class weights are computed from data, which only train reads (in the library: balancedClassWeights); give a number for each class",
    );
  }
  const weights = text.split(",").map(decimal);
  for (const weight of weights) checkNumber("a weight of classWeights", weight, notNegative);
  if (weights.some((weight) => weight > 0)) return weights;
  throw new UsageError("classWeights of the cross-entropy must have a weight above 0");
}

function checkSettings(settings: CrossEntropySettings): void {
  const { labelSmoothing, ignoreIndex, labels, classAxis, labelPlaces, focus: gamma } = settings;
  checkNumber("focus of the cross-entropy", gamma, focus);
  if (gamma !== 0 && (labels === "probabilities" || labelSmoothing !== 0)) {
    throw new UsageError("focus of the cross-entropy is for class labels without labelSmoothing");
  }
  checkNumber("labelSmoothing of the cross-entropy", labelSmoothing, share);
  checkNumber("labelPlaces of the cross-entropy", labelPlaces, countFromZero);
  if (labels !== "classes" && labels !== "probabilities") {
    throw new UsageError(`labels of the cross-entropy must be classes or probabilities, not ${labels}`);
  }
  if (ignoreIndex !== "none" && !Number.isInteger(ignoreIndex)) {
    throw new UsageError(`ignoreIndex of the cross-entropy must be a whole number, not ${ignoreIndex}`);
  }
  if (ignoreIndex !== "none" && labels === "probabilities") {
    throw new UsageError("labels that are probabilities have no index to ignore: leave ignoreIndex out");
  }
  if (classAxis !== 1 && classAxis !== -1) {
    throw new UsageError(`classAxis of the cross-entropy must be 1 or -1, not ${classAxis}`);
  }
}

function checkClasses(labels: ArrayLike<number>, classes: number, ignored: number | "none"): void {
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i];
    if (label === ignored) continue;
    if (label === undefined || !Number.isInteger(label) || label < 0 || label >= classes) {
      throw new DataError(
        `label ${label} at position ${i} is not a class of the model: its ${classes} classes are 0 to ${classes - 1}`,
      );
    }
  }
}

/** By how much the sum of a row's probabilities may differ from 1 through rounding. */
const shareTolerance = 1e-3;

function checkShares(labels: ArrayLike<number>, shape: Shape, axis: number): void {
  const classes = dimAt(shape, axis);
  const inner = elementCount(shape.slice(axis + 1));
  for (let place = 0; place < labels.length / classes; place++) {
    let sum = 0;
    for (let c = 0; c < classes; c++) {
      const share = labels[placeOf(place, c, classes, inner)] ?? Number.NaN;
      if (!(share >= 0)) throw new DataError(`the share ${share} of class ${c} in row ${place} is below 0`);
      sum += share;
    }
    if (Math.abs(sum - 1) > shareTolerance) {
      throw new DataError(`the shares of row ${place} sum to ${sum}, not to 1`);
    }
  }
}

/** The cross-entropy of the first rows in float64; with a mask, of the places where it is above 0. */
function crossEntropyOf(
  predictions: ArrayLike<number>,
  labels: ArrayLike<number>,
  rows: number,
  shape: Shape,
  settings: CrossEntropySettings,
  mask?: ArrayLike<number>,
): Evaluation {
  const { labelSmoothing: smoothing, ignoreIndex, weights, focus } = settings;
  const shares = settings.labels === "probabilities";
  const axis = classAxisOf(shape, settings);
  const classes = dimAt(shape, axis);
  const inner = elementCount(shape.slice(axis + 1));
  const positions = elementCount(shape.slice(1)) / classes;
  const weightOf = (c: number): number => weights?.[c] ?? 1;
  let [loss, correct, counted, weight] = [0, 0, 0, 0];
  for (let place = 0; place < rows * positions; place++) {
    const at = (c: number): number => placeOf(place, c, classes, inner);
    const logit = (c: number): number => predictions[at(c)] ?? Number.NaN;
    const label = shares ? best(classes, (c) => labels[at(c)] ?? 0) : (labels[place] ?? -1);
    if ((!shares && label === ignoreIndex) || (mask && !((mask[place] ?? 0) > 0))) continue;
    const found = best(classes, logit);
    const highest = logit(found);
    let [partition, aim, whole] = [0, 0, 0];
    for (let c = 0; c < classes; c++) {
      const shifted = logit(c) - highest;
      const given = shares ? (labels[at(c)] ?? 0) : c === label ? 1 : 0;
      const target = weightOf(c) * ((1 - smoothing) * given + smoothing / classes);
      partition += Math.exp(shifted);
      aim += target * shifted;
      whole += target;
    }
    const plain = whole * Math.log(partition) - aim;
    const missed = focus === 0 ? 1 : 1 - Math.exp(logit(label) - highest) / partition;
    loss += (missed ** focus * plain) / positions;
    counted += 1 / positions;
    weight += (shares ? 1 : weightOf(label)) / positions;
    if (found === label) correct += 1 / positions;
  }
  return { loss, correct, counted, ...(weights && { weight }) };
}

/** The class with the highest number; the first one if there are several, −1 if one is NaN: a model that diverged is not right. */
function best(classes: number, numberOf: (c: number) => number): number {
  let found = 0;
  for (let c = 0; c < classes; c++) {
    if (Number.isNaN(numberOf(c))) return -1;
    if (numberOf(c) > numberOf(found)) found = c;
  }
  return found;
}
