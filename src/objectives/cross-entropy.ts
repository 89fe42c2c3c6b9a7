import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt, type Shape, shapeText } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { checkNumber, share } from "../numbers.ts";
import { elementCount } from "../onnx/tensor.ts";
import { computable, type Objective, type ObjectiveGraph } from "./objective.ts";

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** Share α of the target spread evenly over all classes, 0 (default) to 1, as torch's `label_smoothing`. */
  readonly labelSmoothing?: number;
}

/**
 * Cross-entropy of logits `[N, classes]` or `[N, classes, …]` with class labels `[N]` or `[N, …]`:
 * the mean of log Σ exp(x) − x[label]. Decomposed into operators that every backend runs.
 *
 * @throws UsageError for a label smoothing outside 0 … 1.
 *
 * @example
 * await Trainer.create(model, { objective: crossEntropy() });
 */
export function crossEntropy(options: CrossEntropyOptions = {}): Objective {
  const smoothing = options.labelSmoothing ?? 0;
  checkNumber("labelSmoothing of the cross-entropy", smoothing, share);
  return madeHere({
    name: "cross-entropy",
    options: { labelSmoothing: smoothing },
    labels: { type: "int32", shape: labelShape },
    build: (g, prediction, labels) => buildCrossEntropy(g, prediction, labels, smoothing),
    evaluate: (predictions, labels, rows, shape) => evaluate(predictions, labels, rows, shape, smoothing),
    checkLabels: (labels, shape) => {
      const classes = dimAt(shape, 1);
      for (let i = 0; i < labels.length; i++) {
        const label = labels[i];
        if (label === undefined || !Number.isInteger(label) || label < 0 || label >= classes) {
          throw new SorthError(
            `label ${label} at position ${i} is not a class of the model: its ${classes} classes are 0 to ${classes - 1}`,
          );
        }
      }
    },
  });
}

function labelShape(prediction: Shape): Shape {
  if (prediction.length < 2 || dimAt(prediction, 1) < 2) {
    throw new SorthError(
      `the cross-entropy needs logits of shape [rows, classes, …] with two classes or more; the prediction has shape ${shapeText(prediction)}`,
    );
  }
  return prediction.filter((_, axis) => axis !== 1);
}

function buildCrossEntropy(g: Emit, prediction: Typed, labels: Typed, smoothing: number): ObjectiveGraph {
  const { shape, type } = prediction;
  const rows = elementCount(labelShape(shape));
  const classes = dimAt(shape, 1);
  const [n, positions] = [dimAt(shape, 0), elementCount(shape.slice(2))];
  // [N, C] and [N, 1], or [N, C, L] and [N, 1, L].
  const flat = shape.length === 2;
  const logits =
    flat || shape.length === 3
      ? prediction
      : g.reshapeAs(prediction, [0, classes, -1], [n, classes, positions]);
  const wanted = flat
    ? g.reshapeAs(labels, [-1, 1], [n, 1])
    : g.reshapeAs(labels, [0, 1, -1], [n, 1, positions]);
  const index = g.reshape(g.iota(classes), flat ? [1, classes] : [1, classes, 1]);

  const x = computable(g, logits);
  const shifted = g.sub(x, g.reduceMax(x, [1], true));
  const exponentials = g.exp(shifted);
  const partition = g.reduceSum(exponentials, [1], true);
  const hit = g.indicator(g.equal(index, wanted), x.type);
  const target = smoothing === 0 ? hit : g.add(g.mul(hit, 1 - smoothing), smoothing / classes);
  // The target sums to 1, so log Σ exp(x) − Σ target·x is the same for x shifted by its maximum.
  const losses = g.sub(g.log(partition), g.reduceSum(g.mul(shifted, target), [1], true));
  return {
    value: g.meanOfAll(losses),
    // (softmax − target)/rows
    gradient: () => {
      const softmax = g.mul(exponentials, g.reciprocal(g.mul(partition, rows)));
      return g.reshape(g.cast(g.sub(softmax, g.mul(target, 1 / rows)), type), shape);
    },
  };
}

function evaluate(
  predictions: ArrayLike<number>,
  labels: ArrayLike<number>,
  rows: number,
  shape: Shape,
  smoothing: number,
): { loss: number; correct: number } {
  const classes = dimAt(shape, 1);
  const positions = elementCount(shape.slice(2));
  let [loss, correct] = [0, 0];
  for (let place = 0; place < rows * positions; place++) {
    const [row, position] = [Math.floor(place / positions), place % positions];
    const logit = (c: number): number =>
      predictions[(row * classes + c) * positions + position] ?? Number.NaN;
    const label = labels[place] ?? -1;
    let best = 0;
    for (let c = 1; c < classes; c++) if (logit(c) > logit(best)) best = c;
    const highest = logit(best);
    let [partition, total] = [0, 0];
    for (let c = 0; c < classes; c++) {
      partition += Math.exp(logit(c) - highest);
      total += logit(c) - highest;
    }
    const aim = (1 - smoothing) * (logit(label) - highest) + (smoothing * total) / classes;
    loss += (Math.log(partition) - aim) / positions;
    if (best === label) correct += 1 / positions;
  }
  return { loss, correct };
}
