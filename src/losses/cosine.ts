import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { allAxes, dimAt, type Shape, shapeText } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { elementCount } from "../onnx/tensor.ts";
import { finiteLabels } from "./elementwise.ts";
import { computable, type Objective } from "./objective.ts";

/** Below it a norm counts as this number, as in torch. */
const leastNorm = 1e-8;

/**
 * Mean of 1 − cos(prediction, label), the angle between the vectors along axis 1 of both (torch's `CosineEmbeddingLoss` of pairs
 * that belong together). Labels have the prediction's shape, [N, units] or [N, units, …]. For embeddings.
 *
 * @example
 * await Trainer.create(encoder, { objective: cosine() });
 */
export const cosine = (): Objective =>
  madeHere({
    name: "cosine",
    options: {},
    labels: { type: "float", shape: checkedShape },
    build: (g, prediction, labels) => {
      const x = computable(g, prediction);
      const parts = cosineParts(g, x, g.cast(labels, x.type));
      return {
        value: g.sub(1, g.meanOfAll(parts.cosine)),
        // −(t/(|x||t|) − cos·x/|x|²) divided by the number of vectors
        gradient: () => {
          const vectors = elementCount(x.shape) / dimAt(x.shape, 1);
          const away = g.mul(g.mul(x, parts.cosine), g.square(parts.inverseX));
          const along = g.mul(parts.target, g.mul(parts.inverseX, parts.inverseTarget));
          return g.cast(g.mul(g.sub(away, along), 1 / vectors), prediction.type);
        },
      };
    },
    injected: {
      labels: "prediction",
      axes: (prediction) => allAxes(prediction.length),
      build: (g, x, target) => g.sub(1, g.reduceMean(cosineParts(g, x, target).cosine)),
    },
    evaluate: (predictions, labels, rows, shape) => {
      const units = dimAt(shape, 1);
      const inner = elementCount(shape.slice(2));
      let loss = 0;
      for (let place = 0; place < rows * inner; place++) {
        const first = Math.floor(place / inner) * units * inner + (place % inner);
        const vector = (values: ArrayLike<number>) =>
          Array.from({ length: units }, (_, unit) => values[first + unit * inner] ?? Number.NaN);
        const [x, target] = [vector(predictions), vector(labels)];
        const product = x.reduce((sum, value, unit) => sum + value * (target[unit] ?? Number.NaN), 0);
        const norm = (values: readonly number[]) => Math.max(Math.hypot(...values), leastNorm);
        loss += (1 - product / norm(x) / norm(target)) / inner;
      }
      return { loss };
    },
    checkLabels: finiteLabels,
  });

/** @throws SorthError for a prediction without an axis of units */
function checkedShape(prediction: Shape): Shape {
  if (prediction.length >= 2) return prediction;
  throw new SorthError(
    `the objective cosine needs predictions of shape [rows, units, …]; the prediction has shape ${shapeText(prediction)}`,
  );
}

/** The cosine of each pair of vectors, and one over their norms: [N, 1, …]. */
function cosineParts(g: Emit, x: Typed, target: Typed) {
  const sum = (value: Typed) => g.reduceSum(value, [1], true);
  const inverse = (value: Typed) => g.reciprocal(g.max(g.sqrt(sum(g.square(value))), leastNorm));
  const [inverseX, inverseTarget] = [inverse(x), inverse(target)];
  const cosine = g.mul(sum(g.mul(x, target)), g.mul(inverseX, inverseTarget));
  return { cosine, inverseX, inverseTarget, target };
}
