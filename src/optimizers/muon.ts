import { decayRate, divisor, notNegative } from "../numbers.ts";
import { chain } from "./chain.ts";
import { defineOptimizer } from "./define.ts";
import { patternOf } from "./options.ts";
import { partition } from "./partition.ts";
import type { ParameterSpec } from "./transformation.ts";
import { averageUpdates } from "./transformations/average-updates.ts";
import { orthogonalize, stepCount } from "./transformations/orthogonalize.ts";
import { scaleByAdam } from "./transformations/scale-by-adam.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { decayWeights } from "./transformations/weight-decay.ts";

/**
 * Muon (kellerjordan.github.io/posts/muon, arXiv 2502.16982), as torch.optim.Muon in full precision: the momentum of a hidden
 * layer's weight, made orthogonal. Embeddings, the output layer, biases and normalizations are trained by AdamW in the same run,
 * with the same learning rate; `exclude` names more parameters for AdamW.
 *
 *     m ← μ·m + (1 − μ)·g      u ← (1 − μ)·g + μ·m      w ← w·(1 − lr·λ) − lr·s·orthogonalized(u)
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: muon(), learningRate: 1e-3 });
 */
export const muon = defineOptimizer(
  {
    name: "muon",
    title: "Muon",
    summary: "orthogonal updates of hidden layers' weights, AdamW for the rest, as torch.optim.Muon",
    defaults: {
      /** Share μ of the past in m. */
      momentum: 0.95,
      /** Whether to look ahead by μ along the new direction. */
      nesterov: true,
      /** Newton-Schulz steps. */
      steps: 5,
      /** The least norm by which an update is divided. */
      epsilon: 1e-7,
      /** Whether steps have the usual size of AdamW's, 0.2·√max(rows, columns), and not √max(1, rows/columns). */
      matchAdam: true,
      /** λ of w ← w − lr·λ·w, of all parameters. */
      weightDecay: 0.1,
      /** β1 of AdamW's parameters. */
      beta1: 0.9,
      /** β2 of AdamW's parameters. */
      beta2: 0.999,
      /** Weights whose name matches are AdamW's too; default none. */
      exclude: "",
    },
    ranges: {
      ...{ momentum: decayRate, steps: stepCount, epsilon: divisor, weightDecay: notNegative },
      ...{ beta1: decayRate, beta2: decayRate },
    },
  },
  (options) => {
    const { momentum, nesterov, steps, epsilon, matchAdam, weightDecay, beta1, beta2, exclude } = options;
    const but = exclude === "" ? undefined : patternOf(exclude);
    const takes = ({ matrix, name }: ParameterSpec) =>
      matrix !== undefined && !matrix.isOutput && !(but && name.search(but) >= 0);
    return [
      partition("muon", options, [
        {
          takes,
          transformation: chain(
            averageUpdates({ share: momentum, nesterov }),
            orthogonalize({ steps, epsilon, matchAdam }),
            scaleByLearningRate(),
            decayWeights(weightDecay),
          ),
        },
        {
          takes: () => true,
          transformation: chain(
            scaleByAdam({ beta1, beta2 }),
            scaleByLearningRate(),
            decayWeights(weightDecay),
          ),
        },
      ]),
    ];
  },
);
