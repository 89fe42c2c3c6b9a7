import { DataError, SorthError, UsageError } from "../errors.ts";
import { int, ints } from "../graph/attribute.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { allAxes, dimAt, type Shape, shapeText } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { checkNumber, countFromZero, share } from "../numbers.ts";
import { elementCount } from "../onnx/tensor.ts";
import {
  computable,
  type Evaluation,
  type Objective,
  type ObjectiveGraph,
  withDefaults,
} from "./objective.ts";

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
}

type Settings = Required<CrossEntropyOptions>;

const name = "cross-entropy";
const defaults: Settings = {
  ...{ labelSmoothing: 0, ignoreIndex: "none", labels: "classes", classAxis: 1, labelPlaces: 0 },
};

/**
 * Cross-entropy of logits `[N, classes]`, `[N, classes, …]` or `[N, …, classes]` with class labels `[N]` or `[N, …]`:
 * the mean of log Σ exp(x) − x[label]. It consists of operators that every backend runs.
 *
 * @throws UsageError for an unknown option or a value out of range.
 *
 * @example
 * await Trainer.create(model, { objective: crossEntropy() });
 */
export function crossEntropy(options: CrossEntropyOptions = {}): Objective {
  const settings = withDefaults(name, defaults, options);
  checkSettings(settings);
  const shares = settings.labels === "probabilities";
  const axisOf = (prediction: Shape) => classAxis(prediction, settings);
  return madeHere({
    name,
    options: settings,
    activations: ["Softmax", "LogSoftmax"],
    classAxis: axisOf,
    labels: {
      type: shares ? "float" : "int32",
      shape: (prediction) => labelShape(prediction, axisOf(prediction), shares),
    },
    build: (g, prediction, labels) => buildCrossEntropy(g, prediction, labels, settings),
    injected: {
      labels: shares ? "prediction" : "int64",
      axes: (prediction) =>
        allAxes(prediction.length).filter((axis) => shares || axis !== axisOf(prediction)),
      build: (g, prediction, labels) => buildInjected(g, prediction, labels, settings),
    },
    evaluate: (predictions, labels, rows, shape) => evaluate(predictions, labels, rows, shape, settings),
    checkLabels: (labels, shape) => {
      if (shares) checkShares(labels, shape, axisOf(shape));
      else checkClasses(labels, dimAt(shape, axisOf(shape)), settings.ignoreIndex);
    },
  });
}

function checkSettings({ labelSmoothing, ignoreIndex, labels, classAxis, labelPlaces }: Settings): void {
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

/** The class axis of a prediction. */
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

/** The index of a class's number for the n-th place of an array that has `inner` elements after its class axis. */
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
  // [N, C] and [N, 1], or [N, C, L] and [N, 1, L]. If the classes are last, all places become rows.
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
  // Σ target·(log Σ exp(x) − x) does not change if x is shifted by its maximum, since targets sum to 1 (up to rounding).
  const whole = shares ? g.reduceSum(target, [1], true) : undefined;
  const scaled = (value: Typed): Typed => (whole ? g.mul(value, whole) : value);
  const losses = g.sub(scaled(g.log(partition)), g.reduceSum(g.mul(shifted, target), [1], true));
  const counts = given && ignoreIndex !== "none" ? countedRows(g, given, ignoreIndex, x.type) : undefined;
  return {
    value: counts ? g.div(g.meanOfAll(g.mul(losses, counts.rows)), counts.share) : g.meanOfAll(losses),
    // (softmax − target)/rows, where only rows that count are counted
    gradient: () => {
      const softmax = scaled(g.mul(exponentials, g.reciprocal(g.mul(partition, rows))));
      const all = g.sub(softmax, g.mul(target, 1 / rows));
      const slope = counts ? g.mul(all, g.div(counts.rows, counts.share)) : all;
      return g.reshape(g.cast(slope, type), shape);
    },
  };
}

/** The loss in an injected file: SoftmaxCrossEntropyLoss for class labels, LogSoftmax for probabilities. */
function buildInjected(g: Emit, prediction: Typed, given: Typed, settings: Settings): Typed {
  const { labelSmoothing: smoothing, ignoreIndex } = settings;
  const shares = settings.labels === "probabilities";
  const axis = classAxis(prediction.shape, settings);
  labelShape(prediction.shape, axis, shares);
  const classes = dimAt(prediction.shape, axis);
  // If the classes are the last of several axes, all places become rows: [rows, classes].
  const turned = axis > 1;
  const rows = elementCount(prediction.shape) / classes;
  const arranged = (value: Typed): Typed => g.reshapeAs(value, [-1, classes], [rows, classes]);
  const x = turned ? arranged(prediction) : prediction;
  const flat = turned && !shares ? g.reshapeAs(given, [-1], [rows]) : given;
  const labels = turned && shares ? arranged(given) : flat;
  if (shares) {
    const target = smoothing === 0 ? labels : g.add(g.mul(labels, 1 - smoothing), smoothing / classes);
    return g.neg(g.reduceMean(g.reduceSum(g.mul(target, logProbabilities(g, x)), [1])));
  }
  const loss = lossOfClasses(g, x, labels, ignoreIndex);
  if (smoothing === 0) return loss;
  // The mean over all classes instead of the label's class.
  const uniform = g.reduceMean(logProbabilities(g, x), [1]);
  const counts = ignoreIndex === "none" ? undefined : countedRows(g, labels, ignoreIndex, x.type);
  const mean = counts
    ? g.div(g.reduceMean(g.mul(uniform, counts.rows)), counts.share)
    : g.reduceMean(uniform);
  return g.sub(g.mul(loss, 1 - smoothing), g.mul(mean, smoothing));
}

/** Mean of −log p[label]; x: [rows, classes, …], labels: [rows, …]. */
function lossOfClasses(g: Emit, x: Typed, labels: Typed, ignoreIndex: number | "none"): Typed {
  if (g.opset >= 12) {
    // ONNX Runtime's training API needs the output log_prob, because its gradient reads it.
    const outputs = [
      { type: x.type, shape: [] },
      { type: x.type, shape: x.shape },
    ];
    const attributes = ignoreIndex === "none" ? {} : { ignore_index: int(ignoreIndex) };
    return g.multi("SoftmaxCrossEntropyLoss", [x, labels], outputs, { attributes })[0] as Typed;
  }
  const what =
    ignoreIndex === "none" ? `scores of shape ${shapeText(x.shape)}` : "an ignored label (ignoreIndex)";
  if (x.shape.length !== 2 || ignoreIndex !== "none") throw needsOpset(g, 12, what);
  // Opset 11 has no loss operators, so the label's log-probability is gathered.
  if (g.opset < 11) throw needsOpset(g, 11, "class labels");
  const logs = logProbabilities(g, x);
  const n = dimAt(x.shape, 0);
  const index = g.op("Unsqueeze", [labels], [n, 1], { attributes: { axes: ints([1]) } });
  const gathered = g.op("GatherElements", [logs, index], [n, 1], { attributes: { axis: int(1) } });
  return g.neg(g.reduceMean(gathered));
}

/** log softmax of x: [rows, classes, …] over its classes. */
function logProbabilities(g: Emit, x: Typed): Typed {
  // Before opset 13, LogSoftmax normalizes over all axes from this one on together.
  if (x.shape.length > 2 && g.opset < 13) throw needsOpset(g, 13, `scores of shape ${shapeText(x.shape)}`);
  return g.op("LogSoftmax", [x], x.shape, { attributes: { axis: int(1) } });
}

const needsOpset = ({ opset }: Emit, least: number, what: string): SorthError =>
  new SorthError(
    `a cross-entropy of ${what} needs opset ${least} in an injected file, the model has ${opset}`,
  );

/** Which rows have a label that counts (1 or 0), and their share, kept above 0 so that a batch without such rows has the loss 0. */
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

/** The class with the highest number; the first one if there are several. */
function best(classes: number, numberOf: (c: number) => number): number {
  let found = 0;
  for (let c = 1; c < classes; c++) if (numberOf(c) > numberOf(found)) found = c;
  return found;
}
