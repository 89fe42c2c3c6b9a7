import { SorthError, UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { allAxes, dimAt, type Shape, shapeText } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { elementCount } from "../onnx/tensor.ts";
import { placeOf } from "./class-scores.ts";
import { finiteLabels } from "./elementwise.ts";
import { countedPlaces, without } from "./mask.ts";
import { computable, type Objective, withDefaults } from "./objective.ts";

/** A norm below this number counts as this number, as in torch. */
const leastNorm = 1e-8;

/** Options of {@link cosine}. */
export interface CosineOptions {
  /** The axis of both sides along which vectors lie: 1 (default), or −1 for the last one, as in `[N, tokens, units]`. */
  readonly axis?: 1 | -1;
}

/**
 * Mean of 1 − cos(prediction, label), the angle between the vectors along axis 1 of both (torch's `CosineEmbeddingLoss` of pairs
 * that belong together). Labels have the prediction's shape, [N, units], [N, units, …] or, with the last axis, [N, …, units].
 * For embeddings.
 *
 * @throws UsageError for an unknown option or another axis
 * @example
 * await Trainer.create(encoder, { objective: cosine() });
 */
export function cosine(options: CosineOptions = {}): Objective {
  const settings = withDefaults<CosineOptions>("cosine", { axis: 1 }, options);
  if (settings.axis !== 1 && settings.axis !== -1) {
    throw new UsageError(`axis of the objective cosine must be 1 or -1, not ${settings.axis}`);
  }
  const axisOf = (prediction: Shape) => (settings.axis === -1 ? prediction.length - 1 : 1);
  return madeHere({
    name: "cosine",
    options: settings,
    labels: { type: "float", shape: checkedShape },
    maskShape: (prediction) => without(prediction, axisOf(prediction)),
    maskedAxis: axisOf,
    build: (g, prediction, labels, mask) => {
      const x = computable(g, prediction);
      const axis = axisOf(x.shape);
      const places = countedPlaces(g, mask, x, axis);
      const parts = cosineParts(g, x, places.labels(g.cast(labels, x.type)), axis);
      return {
        value: mask ? places.mean(g.sub(1, parts.cosine)) : g.sub(1, g.meanOfAll(parts.cosine)),
        // −(t/(|x||t|) − cos·x/|x|²) divided by the number of vectors
        gradient: () => {
          const vectors = elementCount(x.shape) / dimAt(x.shape, axis);
          const away = g.mul(g.mul(x, parts.cosine), g.square(parts.inverseX));
          const along = g.mul(parts.target, g.mul(parts.inverseX, parts.inverseTarget));
          return g.cast(places.slope(g.mul(g.sub(away, along), 1 / vectors)), prediction.type);
        },
      };
    },
    injected: {
      labels: "prediction",
      axes: (prediction) => allAxes(prediction.length),
      build: (g, x, target) => g.sub(1, g.reduceMean(cosineParts(g, x, target, axisOf(x.shape)).cosine)),
    },
    evaluate: (predictions, labels, rows, shape, mask) => {
      const axis = axisOf(shape);
      const units = dimAt(shape, axis);
      const inner = elementCount(shape.slice(axis + 1));
      const places = elementCount(shape.slice(1)) / units;
      let [loss, counted] = [0, 0];
      for (let place = 0; place < rows * places; place++) {
        if (mask && !((mask[place] ?? 0) > 0)) continue;
        const vector = (values: ArrayLike<number>) =>
          Array.from(
            { length: units },
            (_, unit) => values[placeOf(place, unit, units, inner)] ?? Number.NaN,
          );
        const [x, target] = [vector(predictions), vector(labels)];
        const product = x.reduce((sum, value, unit) => sum + value * (target[unit] ?? Number.NaN), 0);
        const norm = (values: readonly number[]) => Math.max(Math.hypot(...values), leastNorm);
        loss += (1 - product / norm(x) / norm(target)) / places;
        counted += 1 / places;
      }
      return { loss, ...(mask && { counted }) };
    },
    checkLabels: finiteLabels,
  });
}

/** @throws SorthError for a prediction without an axis of units */
function checkedShape(prediction: Shape): Shape {
  if (prediction.length >= 2) return prediction;
  throw new SorthError(
    `the objective cosine needs predictions of shape [rows, units, …]; the prediction has shape ${shapeText(prediction)}`,
  );
}

/** The cosine of each pair of vectors, and one over their norms: 1 in place of the axis. */
function cosineParts(g: Emit, x: Typed, target: Typed, axis: number) {
  const sum = (value: Typed) => g.reduceSum(value, [axis], true);
  const inverse = (value: Typed) => g.reciprocal(g.max(g.sqrt(sum(g.square(value))), leastNorm));
  const [inverseX, inverseTarget] = [inverse(x), inverse(target)];
  const cosine = g.mul(sum(g.mul(x, target)), g.mul(inverseX, inverseTarget));
  return { cosine, inverseX, inverseTarget, target };
}
