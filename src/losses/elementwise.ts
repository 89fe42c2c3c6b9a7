import { DataError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { allAxes } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { elementCount } from "../onnx/tensor.ts";
import { computable, type Objective } from "./objective.ts";

/** A loss that is a mean over elements, each compared with its own label. */
interface ElementwiseLoss {
  readonly name: string;
  /** The loss of each element. */
  readonly loss: (g: Emit, x: Typed, target: Typed) => Typed;
  /** The same in an injected file, if that needs another form. */
  readonly injected?: (g: Emit, x: Typed, target: Typed) => Typed;
  /** `scale` times the derivative of each element's loss. */
  readonly slope: (g: Emit, x: Typed, target: Typed, scale: number) => Typed;
  /** The loss of one element, on numbers. */
  readonly evaluate: (x: number, target: number) => number;
  /** Which labels are valid; default any finite number. */
  readonly labels?: { readonly allowed: (label: number) => boolean; readonly words: string };
  /** Whether an element is classified correctly, for losses that classify. */
  readonly correct?: (x: number, target: number) => boolean;
  /** As {@link Objective.activations}. */
  readonly activations?: readonly string[];
}

/** Mean of (prediction − label)². Labels have the prediction's shape. */
export const meanSquaredError = (): Objective =>
  elementwise({
    name: "mse",
    loss: (g, x, target) => g.square(difference(g, x, target)),
    slope: (g, x, target, scale) => g.mul(difference(g, x, target), 2 * scale),
    evaluate: (x, target) => (x - target) ** 2,
  });

/** Mean of |prediction − label|. Labels have the prediction's shape. If both are equal, the slope is 0. */
export const l1 = (): Objective =>
  elementwise({
    name: "l1",
    loss: (g, x, target) => g.abs(difference(g, x, target)),
    // The sign from comparisons, because WebGPU has no Sign.
    slope: (g, x, target, scale) => {
      const [above, below] = [g.greater(x, target), g.less(x, target)];
      return g.mul(g.sub(g.indicator(above, x.type), g.indicator(below, x.type)), scale);
    },
    evaluate: (x, target) => Math.abs(x - target),
  });

/**
 * Mean binary cross-entropy of logits. Labels from 0 to 1 have the prediction's shape (torch's `BCEWithLogitsLoss`):
 * max(x, 0) − x·y + log(1 + exp(−|x|)).
 */
export const binaryCrossEntropy = (): Objective =>
  elementwise({
    name: "bce",
    activations: ["Sigmoid"],
    loss: (g, x, target) => logistic(g, x, target, (value) => g.max(value, 0)),
    injected: (g, x, target) => logistic(g, x, target, (value) => g.op("Relu", [value], value.shape)),
    slope: (g, x, target, scale) => g.mul(g.sub(g.sigmoid(x), target), scale),
    evaluate: (x, target) => Math.max(x, 0) - x * target + Math.log1p(Math.exp(-Math.abs(x))),
    labels: { allowed: (label) => label >= 0 && label <= 1, words: "a number from 0 to 1" },
    correct: (x, target) => x > 0 === target > 0.5,
  });

/** max(x, 0) − x·y + log(1 + e^−|x|). */
function logistic(g: Emit, x: Typed, target: Typed, positive: (x: Typed) => Typed): Typed {
  const tail = g.log(g.add(g.exp(g.neg(g.abs(x))), 1));
  return g.add(g.sub(positive(x), g.mul(x, target)), tail);
}

/** prediction − label, shared by the loss and its slope. */
const difference = (g: Emit, x: Typed, target: Typed): Typed =>
  g.once(`difference ${x.name} ${target.name}`, () => g.sub(x, target));

function elementwise(kind: ElementwiseLoss): Objective {
  const allowed = kind.labels?.allowed ?? Number.isFinite;
  return madeHere({
    name: kind.name,
    options: {},
    ...(kind.activations && { activations: kind.activations }),
    labels: { type: "float", shape: (prediction) => prediction },
    build: (g, prediction, labels) => {
      const x = computable(g, prediction);
      const target = g.cast(labels, x.type);
      return {
        value: g.meanOfAll(kind.loss(g, x, target)),
        gradient: () => g.cast(kind.slope(g, x, target, 1 / elementCount(x.shape)), prediction.type),
      };
    },
    injected: {
      labels: "prediction",
      axes: (prediction) => allAxes(prediction.length),
      build: (g, x, target) => g.reduceMean((kind.injected ?? kind.loss)(g, x, target)),
    },
    evaluate: (predictions, labels, rows, shape) => {
      const perRow = elementCount(shape.slice(1));
      let [loss, correct] = [0, 0];
      for (let i = 0; i < rows * perRow; i++) {
        const [x, target] = [predictions[i] ?? Number.NaN, labels[i] ?? Number.NaN];
        loss += kind.evaluate(x, target) / perRow;
        if (kind.correct?.(x, target)) correct += 1 / perRow;
      }
      return kind.correct ? { loss, correct } : { loss };
    },
    checkLabels: (labels) => {
      for (let i = 0; i < labels.length; i++) {
        const label = labels[i];
        if (label === undefined || !allowed(label)) {
          throw new DataError(
            `label ${label} at position ${i} is not ${kind.labels?.words ?? "a finite number"}`,
          );
        }
      }
    },
  });
}
