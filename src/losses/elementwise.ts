import { DataError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { allAxes, type Shape } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { checkNumber, positive } from "../numbers.ts";
import { elementCount } from "../onnx/tensor.ts";
import { countedPlaces, without } from "./mask.ts";
import { computable, type Objective, type ObjectiveOptions, withDefaults } from "./objective.ts";

/** A loss that is a mean over elements, each compared with its own label. */
export interface ElementwiseLoss {
  readonly name: string;
  /** Every option, checked already; default none. */
  readonly options?: ObjectiveOptions;
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
export const meanSquaredError = (options: Readonly<Record<string, never>> = {}): Objective =>
  elementwise({
    name: "mse",
    options: withDefaults("mse", {}, options),
    loss: (g, x, target) => g.square(difference(g, x, target)),
    slope: (g, x, target, scale) => g.mul(difference(g, x, target), 2 * scale),
    evaluate: (x, target) => (x - target) ** 2,
  });

/** Mean of |prediction − label|. Labels have the prediction's shape. If both are equal, the slope is 0. */
export const l1 = (options: Readonly<Record<string, never>> = {}): Objective =>
  elementwise({
    name: "l1",
    options: withDefaults("l1", {}, options),
    loss: (g, x, target) => g.abs(difference(g, x, target)),
    // The sign from comparisons, because WebGPU has no Sign.
    slope: (g, x, target, scale) => {
      const [above, below] = [g.greater(x, target), g.less(x, target)];
      return g.mul(g.sub(g.indicator(above, x.type), g.indicator(below, x.type)), scale);
    },
    evaluate: (x, target) => Math.abs(x - target),
  });

/** Options of {@link huber}. */
export interface HuberOptions {
  /** δ: differences above it count linearly. Default 1. */
  readonly delta?: number;
}

/**
 * Mean of d²/2 for differences d up to δ, and of δ·(|d| − δ/2) above: outliers pull less than in the squared error (torch's
 * `HuberLoss`). Labels have the prediction's shape.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: huber({ delta: 0.5 }) });
 */
export function huber(options: HuberOptions = {}): Objective {
  const settings = withDefaults("huber", { delta: 1 }, options);
  checkNumber("delta of the objective huber", settings.delta, positive);
  return clippedSquares("huber", settings, settings.delta, 1);
}

/** Options of {@link smoothL1}. */
export interface SmoothL1Options {
  /** β: differences up to it count quadratically. Default 1. */
  readonly beta?: number;
}

/**
 * Mean of d²/(2β) for differences d up to β, and of |d| − β/2 above (torch's `SmoothL1Loss`). Labels have the prediction's shape.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: smoothL1() });
 */
export function smoothL1(options: SmoothL1Options = {}): Objective {
  const settings = withDefaults("smooth-l1", { beta: 1 }, options);
  checkNumber("beta of the objective smooth-l1", settings.beta, positive);
  return clippedSquares("smooth-l1", settings, settings.beta, 1 / settings.beta);
}

/** `factor` times c·(d − c/2), with c the difference d clipped to ±bound: quadratic inside, linear outside. Its slope is c. */
function clippedSquares(name: string, options: ObjectiveOptions, bound: number, factor: number): Objective {
  const clipped = (g: Emit, x: Typed, target: Typed) => {
    const d = difference(g, x, target);
    return g.once(`clipped ${d.name} ${bound}`, () => g.max(g.min(d, bound), -bound));
  };
  return elementwise({
    ...{ name, options },
    loss: (g, x, target) => {
      const c = clipped(g, x, target);
      return g.mul(g.mul(c, factor), g.sub(difference(g, x, target), g.mul(c, 0.5)));
    },
    slope: (g, x, target, scale) => g.mul(clipped(g, x, target), factor * scale),
    evaluate: (x, target) => {
      const c = Math.max(-bound, Math.min(bound, x - target));
      return factor * c * (x - target - c / 2);
    },
  });
}

/** prediction − label, shared by the loss and its slope. */
const difference = (g: Emit, x: Typed, target: Typed): Typed =>
  g.once(`difference ${x.name} ${target.name}`, () => g.sub(x, target));

/** The objective of an elementwise loss. */
export function elementwise(kind: ElementwiseLoss): Objective {
  return madeHere({
    name: kind.name,
    options: kind.options ?? {},
    ...(kind.activations && { activations: kind.activations }),
    labels: { type: "float", shape: (prediction) => prediction },
    maskShape,
    maskedAxis,
    build: (g, prediction, labels, mask) => {
      const x = computable(g, prediction);
      const places = countedPlaces(g, mask, x, maskedAxis(x.shape));
      const target = places.labels(g.cast(labels, x.type));
      return {
        value: places.mean(kind.loss(g, x, target)),
        gradient: () =>
          g.cast(places.slope(kind.slope(g, x, target, 1 / elementCount(x.shape))), prediction.type),
      };
    },
    injected: {
      labels: "prediction",
      axes: (prediction) => allAxes(prediction.length),
      build: (g, x, target) => g.reduceMean((kind.injected ?? kind.loss)(g, x, target)),
    },
    evaluate: (predictions, labels, rows, shape, mask) => {
      const perRow = elementCount(shape.slice(1));
      const perPlace = elementCount(shape) / elementCount(maskShape(shape));
      let [loss, correct, counted] = [0, 0, 0];
      for (let i = 0; i < rows * perRow; i++) {
        if (mask && !((mask[Math.floor(i / perPlace)] ?? 0) > 0)) continue;
        const [x, target] = [predictions[i] ?? Number.NaN, labels[i] ?? Number.NaN];
        loss += kind.evaluate(x, target) / perRow;
        counted += 1 / perRow;
        if (kind.correct?.(x, target)) correct += 1 / perRow;
      }
      return { loss, ...(kind.correct && { correct }), ...(mask && { counted }) };
    },
    checkLabels: (labels) => checkEach(labels, kind.labels),
  });
}

/** A mask over sequences of vectors [N, T, units] has one number for each vector; over other predictions, one for each number. */
const maskedAxis = (prediction: Shape): number | undefined =>
  prediction.length < 3 ? undefined : prediction.length - 1;

const maskShape = (prediction: Shape): Shape => {
  const axis = maskedAxis(prediction);
  return axis === undefined ? prediction : without(prediction, axis);
};

/** Refuses the first label that is not allowed. @throws DataError */
function checkEach(labels: ArrayLike<number>, valid: ElementwiseLoss["labels"]): void {
  const { allowed, words } = valid ?? { allowed: Number.isFinite, words: "a finite number" };
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i];
    if (label === undefined || !allowed(label)) {
      throw new DataError(`label ${label} at position ${i} is not ${words}`);
    }
  }
}

/** Refuses labels that are no finite numbers. @throws DataError naming the first one */
export const finiteLabels = (labels: ArrayLike<number>): void => checkEach(labels, undefined);
