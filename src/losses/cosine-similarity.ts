import { madeHere } from "../made-here.ts";
import { checkChoice } from "./contrastive.ts";
import { finiteLabels } from "./elementwise.ts";
import {
  checkEmbeddings,
  dot,
  type EmbeddingOptions,
  embeddingAt,
  normalized,
  poolings,
  throughRules,
  unit,
  vectorsOf,
} from "./embeddings.ts";
import { computable, type Objective, withDefaults } from "./objective.ts";

/** Options of {@link cosineSimilarity}. */
export interface CosineSimilarityOptions extends EmbeddingOptions {}

/** A norm below this number counts as this number, as in torch. */
const leastNorm = 1e-8;

/**
 * Pairs with a score: mean of (cos(first, second) − score)² (`CosineSimilarityLoss` of sentence-transformers). Labels are one
 * number for each pair, such as −1 to 1 or 0 to 1.
 *
 * @throws UsageError for an unknown option
 * @example
 * await Trainer.create(encoder, { objective: cosineSimilarity(), siamese: 2, batch: 32 });
 */
export function cosineSimilarity(options: CosineSimilarityOptions = {}): Objective {
  const name = "cosine-similarity";
  const settings = withDefaults<CosineSimilarityOptions>(name, { pooling: "mean" }, options);
  checkChoice(name, "pooling", settings.pooling, poolings);
  return madeHere({
    name,
    options: settings,
    embeds: { pooling: settings.pooling },
    labels: {
      type: "float",
      shape: (prediction) => {
        checkEmbeddings(name, prediction, { least: 2, most: 2, what: "two embeddings", single: false });
        return prediction.slice(0, 1);
      },
    },
    build: (g, prediction, labels) => {
      const x = computable(g, prediction);
      const [a, b] = [0, 1].map((place) => normalized(g, embeddingAt(g, x, place), leastNorm));
      const cosines = g.reduceSum(g.mul(a ?? x, b ?? x), [1]);
      return throughRules(g, g.meanOfAll(g.square(g.sub(cosines, g.cast(labels, x.type)))));
    },
    evaluate: (predictions, labels, rows, shape) => ({
      loss: vectorsOf(predictions, rows, shape).reduce((sum, [a = [], b = []], row) => {
        const cosine = dot(unit(a, leastNorm), unit(b, leastNorm));
        return sum + (cosine - (labels[row] ?? Number.NaN)) ** 2;
      }, 0),
    }),
    checkLabels: finiteLabels,
  });
}
