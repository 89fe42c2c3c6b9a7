import { DataError, SorthError, UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { checkNumber, positive } from "../numbers.ts";
import { crossEntropy } from "./cross-entropy.ts";
import {
  checkEmbeddings,
  dot,
  type EmbeddingOptions,
  embeddingAt,
  isGrouped,
  nearestOfClass,
  normalized,
  poolings,
  unit,
  vectorsOf,
} from "./embeddings.ts";
import {
  computable,
  type Evaluation,
  type Objective,
  type ObjectiveGraph,
  withDefaults,
} from "./objective.ts";

/** Options of {@link contrastive}. */
export interface ContrastiveOptions extends EmbeddingOptions {
  /** τ, by which similarities are divided; default 0.05 (the scale 20 of sentence-transformers). */
  readonly temperature?: number;
  /** Pairs: whether each positive has to find its anchor too, as in CLIP; the mean of both losses. Default false. */
  readonly symmetric?: boolean;
  /** `cosine` (default), or `dot` for the product of the embeddings as they are. */
  readonly similarity?: "cosine" | "dot";
}

/** Norms below it count as this number, as in torch's `normalize`. */
const leastNorm = 1e-12;

/** Stands for −∞ in scores that do not count. */
const never = -1e30;

/**
 * InfoNCE with the negatives of the batch. A sample of two embeddings is a pair, anchor and positive; those after the second are
 * negatives: the cross-entropy of finding an anchor's positive among all positives and negatives of the batch
 * (`MultipleNegativesRankingLoss` of sentence-transformers; `symmetric` with CLIP's other direction). A sample of one embedding
 * has a class as label: all samples of its class in the batch are its positives (supervised contrastive loss, arXiv 2004.11362).
 *
 * The loss depends on the batch, because that holds the negatives. The accuracy is the share of anchors that are nearest to their
 * positive (with classes: to a sample of their class).
 *
 * @throws UsageError for an unknown option or a value out of range
 * @example
 * await Trainer.create(encoder, { objective: contrastive({ temperature: 0.05 }), siamese: 2, batch: 32 });
 */
export const contrastive = (options: ContrastiveOptions = {}): Objective => made("contrastive", options);

/** {@link contrastive} under its other name. */
export const infoNce = (options: ContrastiveOptions = {}): Objective => made("info-nce", options);

function made(name: string, options: ContrastiveOptions): Objective {
  const settings = withDefaults<ContrastiveOptions>(
    name,
    { pooling: "mean", temperature: 0.05, symmetric: false, similarity: "cosine" },
    options,
  );
  const { temperature, similarity, pooling, symmetric } = settings;
  checkNumber(`temperature of the objective ${name}`, temperature, positive);
  checkChoice(name, "similarity", similarity, ["cosine", "dot"]);
  checkChoice(name, "pooling", pooling, poolings);
  return madeHere({
    name,
    options: settings,
    embeds: { pooling },
    labels: {
      type: "int32",
      shape: (prediction) => {
        checkEmbeddings(name, prediction, { least: 2, what: "two embeddings or more", single: true });
        if (!isGrouped(prediction)) return prediction.slice(0, 1);
        if (dimAt(prediction, 0) * (dimAt(prediction, 1) - 1) < 2) {
          throw new SorthError(
            `the objective ${name} takes its negatives from the batch, and a batch of one pair has none: use a larger batch (--batch)`,
          );
        }
        return [];
      },
      absent: isGrouped,
    },
    build: (g, prediction, labels) => {
      const x = computable(g, prediction);
      const vectors = similarity === "cosine" ? normalized(g, x, leastNorm) : x;
      return isGrouped(x.shape) ? ofPairs(g, vectors, settings) : ofClasses(g, vectors, labels, temperature);
    },
    evaluate: (predictions, labels, rows, shape) => {
      const vectors = vectorsOf(predictions, rows, shape).map((sample) =>
        similarity === "cosine" ? sample.map((vector) => unit(vector, leastNorm)) : sample,
      );
      return isGrouped(shape)
        ? pairFigures(vectors, { temperature, symmetric })
        : classFigures(
            vectors.map(([only]) => only ?? []),
            labels,
            temperature,
          );
    },
    checkLabels: wholeLabels,
  });
}

/** @throws UsageError for a value that is not among the choices */
export function checkChoice(loss: string, option: string, value: unknown, choices: readonly unknown[]): void {
  if (choices.includes(value)) return;
  throw new UsageError(
    `${option} of the objective ${loss} must be ${choices.join(" or ")}, not ${String(value)}`,
  );
}

/** @throws DataError for a label that is no class */
export function wholeLabels(labels: ArrayLike<number>): void {
  for (let i = 0; i < labels.length; i++) {
    if (Number.isInteger(labels[i])) continue;
    throw new DataError(`label ${labels[i]} at position ${i} is no class: classes are whole numbers`);
  }
}

/** Vectors [N, embeddings, units]. */
function ofPairs(
  g: Emit,
  vectors: Typed,
  { temperature, symmetric }: Required<ContrastiveOptions>,
): ObjectiveGraph {
  const [samples, count, units] = vectors.shape as [number, number, number];
  const others = g.slice(vectors, [{ axis: 1, start: 1, length: count - 1 }]);
  // All positives, then all first negatives, and so on.
  const candidates = g.reshape(g.transpose(others, [1, 0, 2]), [(count - 1) * samples, units]);
  const anchors = embeddingAt(g, vectors, 0);
  const scores = g.mul(g.matMul(anchors, g.transposeLast(candidates)), 1 / temperature);
  const own = g.iota(samples);
  const classes = crossEntropy();
  const found = classes.build(g, scores, own);
  if (!symmetric) return { ...found, at: scores };
  const rest = (count - 2) * samples;
  const back = g.transposeLast(g.slice(scores, [{ axis: 1, start: 0, length: samples }]));
  const foundBack = classes.build(g, back, own);
  return {
    value: g.mul(g.add(found.value, foundBack.value), 0.5),
    at: scores,
    gradient: () => {
      const turned = g.transposeLast(foundBack.gradient());
      const both = g.add(found.gradient(), rest > 0 ? g.pad(turned, [0, 0, 0, rest]) : turned);
      return g.mul(both, 0.5);
    },
  };
}

/** Vectors [N, units], with a class each. */
function ofClasses(g: Emit, vectors: Typed, labels: Typed, temperature: number): ObjectiveGraph {
  const samples = dimAt(vectors.shape, 0);
  const { type } = vectors;
  const scores = g.mul(g.matMul(vectors, g.transposeLast(vectors)), 1 / temperature);
  const off = g.offDiagonal(samples, type);
  const alike = g.indicator(g.equal(g.reshape(labels, [samples, 1]), g.reshape(labels, [1, samples])), type);
  const positives = g.mul(alike, off);
  const count = g.reduceSum(positives, [1], true);
  const counts = g.min(count, 1);
  const share = g.mul(positives, g.reciprocal(g.max(count, 1)));
  const anchors = g.max(g.reduceSum(counts), 1);
  const others = g.where(g.greater(off, 0.5), scores, never);
  const shifted = g.sub(others, g.reduceMax(others, [1], true));
  const exponentials = g.exp(shifted);
  const partition = g.reduceSum(exponentials, [1], true);
  // log Σ exp(s) − the mean of s over the positives
  const each = g.sub(
    g.mul(counts, g.log(partition)),
    g.reduceSum(g.mul(share, g.mul(shifted, off)), [1], true),
  );
  return {
    value: g.reshape(g.div(g.reduceSum(each), anchors), []),
    at: scores,
    gradient: () => {
      const softmax = g.mul(counts, g.div(exponentials, partition));
      return g.div(g.sub(softmax, share), anchors);
    },
  };
}

/** The figures of pairs, whose candidates are those of the samples at hand. */
function pairFigures(
  vectors: readonly (readonly (readonly number[])[])[],
  { temperature, symmetric }: Pick<Required<ContrastiveOptions>, "temperature" | "symmetric">,
): Evaluation {
  const rows = vectors.length;
  const places = (vectors[0]?.length ?? 2) - 1;
  const candidates = Array.from({ length: places }, (_, place) =>
    vectors.map((sample) => sample[place + 1] ?? []),
  ).flat();
  const own = Array.from({ length: rows }, (_, i) => i);
  const scores = vectors.map(([anchor = []]) => candidates.map((one) => dot(anchor, one) / temperature));
  const classes = crossEntropy();
  const figures = (table: readonly (readonly number[])[]) =>
    classes.evaluate(table.flat(), own, rows, [rows, table[0]?.length ?? 0]);
  const found = figures(scores);
  if (!symmetric) return found;
  const back = figures(own.map((j) => own.map((i) => scores[i]?.[j] ?? Number.NaN)));
  return { ...found, loss: (found.loss + back.loss) / 2 };
}

function classFigures(
  vectors: readonly (readonly number[])[],
  labels: ArrayLike<number>,
  temperature: number,
): Evaluation {
  const rows = vectors.length;
  const score = (i: number, j: number) => dot(vectors[i] ?? [], vectors[j] ?? []) / temperature;
  let loss = 0;
  for (let i = 0; i < rows; i++) {
    const others = Array.from({ length: rows }, (_, j) => j).filter((j) => j !== i);
    const positives = others.filter((j) => labels[j] === labels[i]);
    if (positives.length === 0) continue;
    const scores = others.map((j) => score(i, j));
    const highest = Math.max(...scores);
    const partition = scores.reduce((sum, one) => sum + Math.exp(one - highest), 0);
    const mean = positives.reduce((sum, j) => sum + score(i, j), 0) / positives.length;
    loss += Math.log(partition) + highest - mean;
  }
  return { loss, ...nearestOfClass(labels, rows, score) };
}
