import { dimAt } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { elementCount } from "../onnx/tensor.ts";
import { placeOf } from "./class-scores.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { countedPlaces } from "./mask.ts";
import { computable, type Objective, withDefaults } from "./objective.ts";

/** Options of {@link klDivergence}. */
export interface KlDivergenceOptions {
  /** The class axis of both sides: 1 (default), or −1 for the last one. */
  readonly classAxis?: 1 | -1;
}

/**
 * The divergence KL(labels ‖ softmax(prediction)), the mean over rows (torch's `KLDivLoss` of `log_softmax(prediction)`,
 * "batchmean" for `[N, classes]`). Labels are probabilities in the prediction's shape. It is the cross-entropy with these
 * labels less their entropy: the gradient is the same, and a perfect prediction has the loss 0.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: klDivergence() });
 */
export function klDivergence(options: KlDivergenceOptions = {}): Objective {
  const settings = withDefaults<KlDivergenceOptions>("kl", { classAxis: 1 }, options);
  const each = crossEntropy({ ...settings, labels: "probabilities" });
  const { injected, classAxis = () => 1 } = each;
  return madeHere({
    ...each,
    ...{ name: "kl", options: settings },
    build: (g, prediction, labels, mask) => {
      const { value, gradient } = each.build(g, prediction, labels, mask);
      const x = computable(g, prediction);
      const axis = classAxis(x.shape);
      const places = countedPlaces(g, mask, x, axis);
      const shares = places.labels(g.cast(labels, x.type));
      // 0·log 0 counts as 0.
      const logs = g.log(g.max(shares, 1e-37));
      const entropy = g.mul(places.mean(g.mul(shares, logs)), dimAt(x.shape, axis));
      return { value: g.add(value, entropy), gradient };
    },
    ...(injected && {
      injected: {
        ...injected,
        build: (g, prediction, labels) => {
          const logs = g.log(g.add(labels, 1e-37));
          const classes = dimAt(prediction.shape, classAxis(prediction.shape));
          const entropy = g.mul(g.reduceMean(g.mul(labels, logs)), classes);
          return g.add(injected.build(g, prediction, labels), entropy);
        },
      },
    }),
    evaluate: (predictions, labels, rows, shape, mask) => {
      const figures = each.evaluate(predictions, labels, rows, shape, mask);
      const axis = classAxis(shape);
      const [classes, inner] = [dimAt(shape, axis), elementCount(shape.slice(axis + 1))];
      const positions = elementCount(shape.slice(1)) / classes;
      let sum = 0;
      for (let place = 0; place < rows * positions; place++) {
        if (mask && !((mask[place] ?? 0) > 0)) continue;
        for (let c = 0; c < classes; c++) {
          const share = labels[placeOf(place, c, classes, inner)] ?? Number.NaN;
          if (share !== 0) sum += share * Math.log(share);
        }
      }
      return { ...figures, loss: figures.loss + sum / positions };
    },
  });
}
