import { DataError, SorthError, UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt, type Shape, shapeText } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { checkNumber, share } from "../numbers.ts";
import { elementCount } from "../onnx/tensor.ts";
import { computable, type Evaluation, type Objective, type ObjectiveGraph } from "./objective.ts";

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** Share α of the target spread evenly over all classes, 0 (default) to 1, as torch's `label_smoothing`. */
  readonly labelSmoothing?: number;
  /** A label that is no class: rows that bear it have no part in the mean, as torch's `ignore_index`. Default: none. */
  readonly ignoreIndex?: number | "none";
  /** `classes` (default): the index of each row's class. `probabilities`: a share for each class, which sum to 1. */
  readonly labels?: "classes" | "probabilities";
  /** Which axis of the prediction counts the classes: 1 (default, as in torch), or −1 for the last one. */
  readonly classAxis?: 1 | -1;
  /**
   * Labels that each sample has, 0 (default) for unknown: where axis 1 does not leave so many places and the last axis
   * does, the last one counts the classes (`[N, tokens, classes]`).
   */
  readonly labelPlaces?: number;
}

type Settings = Required<CrossEntropyOptions>;

/**
 * Cross-entropy of logits `[N, classes]`, `[N, classes, …]` or `[N, …, classes]` with class labels `[N]` or `[N, …]`:
 * the mean of log Σ exp(x) − x[label]. Decomposed into operators that every backend runs.
 *
 * @throws UsageError for options outside their range.
 *
 * @example
 * await Trainer.create(model, { objective: crossEntropy() });
 */
export function crossEntropy(options: CrossEntropyOptions = {}): Objective {
  const settings: Settings = {
    ...{ labelSmoothing: 0, ignoreIndex: "none", labels: "classes", classAxis: 1, labelPlaces: 0 },
    ...options,
  };
  checkSettings(settings);
  const shares = settings.labels === "probabilities";
  const axisOf = (prediction: Shape) => classAxis(prediction, settings);
  return madeHere({
    name: "cross-entropy",
    options: settings,
    classAxis: axisOf,
    labels: {
      type: shares ? "float" : "int32",
      shape: (prediction) => labelShape(prediction, axisOf(prediction), shares),
    },
    build: (g, prediction, labels) => buildCrossEntropy(g, prediction, labels, settings),
    evaluate: (predictions, labels, rows, shape) => evaluate(predictions, labels, rows, shape, settings),
    checkLabels: (labels, shape) => {
      if (shares) checkShares(labels, shape, axisOf(shape));
      else checkClasses(labels, dimAt(shape, axisOf(shape)), settings.ignoreIndex);
    },
  });
}

function checkSettings({ labelSmoothing, ignoreIndex, labels, classAxis }: Settings): void {
  checkNumber("labelSmoothing of the cross-entropy", labelSmoothing, share);
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

/** Which axis of a prediction counts the classes. */
function classAxis(prediction: Shape, { classAxis, labelPlaces }: Settings): number {
  const last = prediction.length - 1;
  if (classAxis === -1) return last;
  const places = (axis: number) => elementCount(prediction.slice(1)) / (prediction[axis] ?? 1);
  const hinted = labelPlaces > 0 && places(1) !== labelPlaces && places(last) === labelPlaces;
  return hinted ? last : 1;
}

function labelShape(prediction: Shape, axis: number, shares: boolean): Shape {
  if (prediction.length < 2 || dimAt(prediction, axis) < 2) {
    throw new SorthError(
      `the cross-entropy needs logits of shape [rows, classes, …] with two classes or more; the prediction has shape ${shapeText(prediction)}: one score a sample is for the objectives bce and mse`,
    );
  }
  return shares ? prediction : prediction.filter((_, at) => at !== axis);
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

/** Shares of one row may differ from 1 by rounding. */
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

/** Where the number of a class stands, for the so-many-th place of an array whose axis of classes has `inner` behind it. */
const placeOf = (place: number, c: number, classes: number, inner: number): number =>
  Math.floor(place / inner) * inner * classes + c * inner + (place % inner);

function buildCrossEntropy(g: Emit, prediction: Typed, labels: Typed, settings: Settings): ObjectiveGraph {
  const { shape, type } = prediction;
  const { labelSmoothing: smoothing, ignoreIndex } = settings;
  const shares = settings.labels === "probabilities";
  const axis = classAxis(shape, settings);
  labelShape(shape, axis, shares);
  const classes = dimAt(shape, axis);
  const rows = elementCount(shape) / classes;
  // [N, C] and [N, 1], or [N, C, L] and [N, 1, L]. With the classes last, all places are rows.
  const flat = shape.length === 2 || axis === shape.length - 1;
  const positions = flat ? 1 : elementCount(shape.slice(2));
  const n = rows / positions;
  const arranged = (value: Typed): Typed => {
    if (value.shape.length === (flat ? 2 : 3)) return value;
    return flat
      ? g.reshapeAs(value, [-1, classes], [n, classes])
      : g.reshapeAs(value, [0, classes, -1], [n, classes, positions]);
  };
  const x = computable(g, arranged(prediction));
  const shifted = g.sub(x, g.reduceMax(x, [1], true));
  const exponentials = g.exp(shifted);
  const partition = g.reduceSum(exponentials, [1], true);
  const wanted = () =>
    flat ? g.reshapeAs(labels, [-1, 1], [n, 1]) : g.reshapeAs(labels, [0, 1, -1], [n, 1, positions]);
  const given = shares ? undefined : wanted();
  const hit = given
    ? g.indicator(g.equal(g.reshape(g.iota(classes), flat ? [1, classes] : [1, classes, 1]), given), x.type)
    : g.cast(arranged(labels), x.type);
  const target = smoothing === 0 ? hit : g.add(g.mul(hit, 1 - smoothing), smoothing / classes);
  // Σ target·(log Σ exp(x) − x) is the same for x shifted by its maximum. Targets sum to 1, shares but for their rounding.
  const whole = shares ? g.reduceSum(target, [1], true) : undefined;
  const scaled = (value: Typed): Typed => (whole ? g.mul(value, whole) : value);
  const losses = g.sub(scaled(g.log(partition)), g.reduceSum(g.mul(shifted, target), [1], true));
  const counts = given && ignoreIndex !== "none" ? countedRows(g, given, ignoreIndex, x.type) : undefined;
  return {
    value: counts ? g.div(g.meanOfAll(g.mul(losses, counts.rows)), counts.share) : g.meanOfAll(losses),
    // (softmax − target)/rows; of the rows that count, where some do not
    gradient: () => {
      const softmax = scaled(g.mul(exponentials, g.reciprocal(g.mul(partition, rows))));
      const all = g.sub(softmax, g.mul(target, 1 / rows));
      const slope = counts ? g.mul(all, g.div(counts.rows, counts.share)) : all;
      return g.reshape(g.cast(slope, type), shape);
    },
  };
}

/** Which rows have a label that counts (1 or 0), and their share; above 0 also where no row has one: the loss is then 0. */
function countedRows(
  g: Emit,
  labels: Typed,
  ignored: number,
  type: Typed["type"],
): { readonly rows: Typed; readonly share: Typed } {
  const rows = g.sub(1, g.indicator(g.equal(labels, ignored), type));
  return { rows, share: g.max(g.meanOfAll(rows), 1e-30) };
}

function evaluate(
  predictions: ArrayLike<number>,
  labels: ArrayLike<number>,
  rows: number,
  shape: Shape,
  settings: Settings,
): Required<Evaluation> {
  const { labelSmoothing: smoothing, ignoreIndex } = settings;
  const shares = settings.labels === "probabilities";
  const axis = classAxis(shape, settings);
  const classes = dimAt(shape, axis);
  const inner = elementCount(shape.slice(axis + 1));
  const positions = elementCount(shape.slice(1)) / classes;
  let [loss, correct, counted] = [0, 0, 0];
  for (let place = 0; place < rows * positions; place++) {
    const at = (c: number): number => placeOf(place, c, classes, inner);
    const logit = (c: number): number => predictions[at(c)] ?? Number.NaN;
    const label = shares ? best(classes, (c) => labels[at(c)] ?? 0) : (labels[place] ?? -1);
    if (!shares && label === ignoreIndex) continue;
    const found = best(classes, logit);
    const highest = logit(found);
    let [partition, total, aim, whole] = [0, 0, 0, shares ? 0 : 1];
    for (let c = 0; c < classes; c++) {
      const shifted = logit(c) - highest;
      partition += Math.exp(shifted);
      total += shifted;
      if (!shares) continue;
      aim += (labels[at(c)] ?? 0) * shifted;
      whole += labels[at(c)] ?? 0;
    }
    if (!shares) aim = logit(label) - highest;
    const smoothed = (1 - smoothing) * aim + (smoothing * total) / classes;
    const sum = (1 - smoothing) * whole + smoothing;
    loss += (sum * Math.log(partition) - smoothed) / positions;
    counted += 1 / positions;
    if (found === label) correct += 1 / positions;
  }
  return { loss, correct, counted };
}

/** The class with the highest number, the first of several. */
function best(classes: number, numberOf: (c: number) => number): number {
  let found = 0;
  for (let c = 1; c < classes; c++) if (numberOf(c) > numberOf(found)) found = c;
  return found;
}
