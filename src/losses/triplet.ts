import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { checkNumber, notNegative } from "../numbers.ts";
import { checkChoice, wholeLabels } from "./contrastive.ts";
import {
  checkEmbeddings,
  dot,
  type EmbeddingOptions,
  embeddingAt,
  isGrouped,
  nearestOfClass,
  normalized,
  poolings,
  throughRules,
  unit,
  vectorsOf,
} from "./embeddings.ts";
import { computable, type Evaluation, type Objective, withDefaults } from "./objective.ts";

/** Options of {@link triplet}. */
export interface TripletOptions extends EmbeddingOptions {
  /** By how much a negative has to be farther away than a positive; default 1, as in torch. */
  readonly margin?: number;
  /** `euclidean` (default), or `cosine`: 1 − the cosine. */
  readonly distance?: "euclidean" | "cosine";
  /** Triplets: take the distance of positive and negative instead of that of anchor and negative where it is smaller. Default false. */
  readonly swap?: boolean;
  /** Classes: `all` triplets of the batch (default), or for each anchor its farthest positive and nearest negative (`hard`). */
  readonly mining?: "all" | "hard";
}

type Settings = Required<TripletOptions>;

/** Added to differences, as in torch's `pairwise_distance`. */
const epsilon = 1e-6;
const leastNorm = 1e-8;
/** Squared distances below it count as this number, where the root has a slope. */
const leastSquare = 1e-16;

/**
 * Triplets: mean of max(0, d(anchor, positive) − d(anchor, negative) + margin) over samples of three embeddings (torch's
 * `TripletMarginLoss`, and `TripletMarginWithDistanceLoss` for the cosine). Samples of one embedding have a class as label: with
 * `mining: "all"` the mean over all triplets of the batch that are above 0, with `"hard"` that over each sample's hardest one
 * (`BatchAllTripletLoss` and `BatchHardTripletLoss` of sentence-transformers, arXiv 1703.07737).
 *
 * The accuracy is the share of triplets whose positive is nearer (with classes: of samples whose nearest is of their class).
 *
 * @throws UsageError for an unknown option or a value out of range
 * @example
 * await Trainer.create(encoder, { objective: triplet({ margin: 0.5 }), siamese: 3, batch: 32 });
 */
export function triplet(options: TripletOptions = {}): Objective {
  const settings = withDefaults<TripletOptions>(
    "triplet",
    { pooling: "mean", margin: 1, distance: "euclidean", swap: false, mining: "all" },
    options,
  );
  checkNumber("margin of the objective triplet", settings.margin, notNegative);
  checkChoice("triplet", "distance", settings.distance, ["euclidean", "cosine"]);
  checkChoice("triplet", "mining", settings.mining, ["all", "hard"]);
  checkChoice("triplet", "pooling", settings.pooling, poolings);
  return madeHere({
    name: "triplet",
    options: settings,
    embeds: { pooling: settings.pooling },
    labels: {
      type: "int32",
      shape: (prediction) => {
        const what = "three embeddings (anchor, positive, negative)";
        checkEmbeddings("triplet", prediction, { least: 3, most: 3, what, single: true });
        return isGrouped(prediction) ? [] : prediction.slice(0, 1);
      },
      absent: isGrouped,
    },
    build: (g, prediction, labels) => {
      const x = computable(g, prediction);
      if (isGrouped(x.shape)) return throughRules(g, ofTriplets(g, x, settings));
      const distances = distancesOf(g, x, settings);
      const value = settings.mining === "hard" ? hardest : all;
      return throughRules(g, value(g, distances, labels, settings.margin));
    },
    evaluate: (predictions, labels, rows, shape) => {
      const vectors = vectorsOf(predictions, rows, shape);
      if (isGrouped(shape)) return tripletFigures(vectors, settings);
      return classFigures(
        vectors.map(([only]) => only ?? []),
        labels,
        settings,
      );
    },
    checkLabels: wholeLabels,
  });
}

function ofTriplets(g: Emit, x: Typed, { distance, swap, margin }: Settings): Typed {
  const [anchor, positive, negative] = [0, 1, 2].map((place) => embeddingAt(g, x, place)) as [
    Typed,
    Typed,
    Typed,
  ];
  const between = (a: Typed, b: Typed): Typed => {
    if (distance === "euclidean") {
      const difference = g.add(g.sub(a, b), epsilon);
      return g.sqrt(g.reduceSum(g.square(difference), [1], true));
    }
    const product = g.mul(normalized(g, a, leastNorm), normalized(g, b, leastNorm));
    return g.sub(1, g.reduceSum(product, [1], true));
  };
  const apart = between(anchor, negative);
  const farther = swap ? g.min(apart, between(positive, negative)) : apart;
  return g.meanOfAll(g.relu(g.add(g.sub(between(anchor, positive), farther), margin)));
}

/** The distances of all pairs, [N, N]. */
function distancesOf(g: Emit, x: Typed, { distance }: Settings): Typed {
  const products = (value: Typed) => g.matMul(value, g.transposeLast(value));
  if (distance === "cosine") return g.sub(1, products(normalized(g, x, leastNorm)));
  const squares = g.reduceSum(g.square(x), [1], true);
  const sums = g.add(squares, g.transposeLast(squares));
  return g.sqrt(g.max(g.sub(sums, g.mul(products(x), 2)), leastSquare));
}

/** 1 for pairs of other samples of the same class, and for pairs of different classes. */
function pairsOf(g: Emit, labels: Typed, type: Typed["type"]): { positive: Typed; negative: Typed } {
  const samples = dimAt(labels.shape, 0);
  const alike = g.indicator(g.equal(g.reshape(labels, [samples, 1]), g.reshape(labels, [1, samples])), type);
  return { positive: g.mul(alike, g.offDiagonal(samples, type)), negative: g.sub(1, alike) };
}

function all(g: Emit, distances: Typed, labels: Typed, margin: number): Typed {
  const n = dimAt(labels.shape, 0);
  const { positive, negative } = pairsOf(g, labels, distances.type);
  const [first, last] = [
    [n, n, 1],
    [n, 1, n],
  ] as const;
  const valid = g.mul(g.reshape(positive, first), g.reshape(negative, last));
  const margins = g.add(g.sub(g.reshape(distances, first), g.reshape(distances, last)), margin);
  const losses = g.mul(g.relu(margins), valid);
  const above = g.reduceSum(g.indicator(g.greater(losses, leastSquare), losses.type));
  return g.reshape(g.div(g.reduceSum(losses), g.max(above, leastSquare)), []);
}

function hardest(g: Emit, distances: Typed, labels: Typed, margin: number): Typed {
  const { positive, negative } = pairsOf(g, labels, distances.type);
  const farthest = g.reduceMax(g.mul(distances, positive), [1], true);
  const highest = g.reduceMax(distances, [1], true);
  const nearest = g.reduceMin(g.add(distances, g.mul(highest, g.sub(1, negative))), [1], true);
  return g.meanOfAll(g.relu(g.add(g.sub(farthest, nearest), margin)));
}

const distanceOf =
  ({ distance }: Settings, shift: number) =>
  (a: readonly number[], b: readonly number[]) =>
    distance === "cosine"
      ? 1 - dot(unit(a, leastNorm), unit(b, leastNorm))
      : Math.hypot(...a.map((value, at) => value - (b[at] ?? Number.NaN) + shift));

function tripletFigures(
  vectors: readonly (readonly (readonly number[])[])[],
  settings: Settings,
): Evaluation {
  const between = distanceOf(settings, epsilon);
  let [loss, correct] = [0, 0];
  for (const [anchor = [], positive = [], negative = []] of vectors) {
    const near = between(anchor, positive);
    const apart = between(anchor, negative);
    const farther = settings.swap ? Math.min(apart, between(positive, negative)) : apart;
    loss += Math.max(0, near - farther + settings.margin);
    if (near < apart) correct += 1;
  }
  return { loss, correct };
}

function classFigures(
  vectors: readonly (readonly number[])[],
  labels: ArrayLike<number>,
  settings: Settings,
): Evaluation {
  const between = distanceOf(settings, 0);
  const rows = vectors.length;
  const distances = vectors.map((a) => vectors.map((b) => between(a, b)));
  const at = (i: number, j: number) => distances[i]?.[j] ?? Number.NaN;
  const near = nearestOfClass(labels, rows, (i, j) => -at(i, j));
  const others = Array.from({ length: rows }, (_, j) => j);
  let [loss, weight] = [0, 0];
  for (let i = 0; i < rows; i++) {
    const positives = others.filter((j) => j !== i && labels[j] === labels[i]);
    const negatives = others.filter((j) => labels[j] !== labels[i]);
    if (settings.mining === "all") {
      for (const p of positives)
        for (const n of negatives) {
          const own = Math.max(0, at(i, p) - at(i, n) + settings.margin);
          if (own > leastSquare) weight += 1;
          loss += own;
        }
    } else {
      const highest = Math.max(...others.map((j) => at(i, j)));
      const farthest = Math.max(0, ...positives.map((p) => at(i, p)));
      const alike = others.filter((j) => labels[j] === labels[i]);
      const nearest = Math.min(...negatives.map((n) => at(i, n)), ...alike.map((j) => at(i, j) + highest));
      loss += Math.max(0, farthest - nearest + settings.margin);
      weight += 1;
    }
  }
  return { loss, weight, ...near };
}
