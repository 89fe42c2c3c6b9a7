import { mostCosine } from "./arcsine.ts";
import { eachProduct, weightedSums } from "./block-products.ts";
import { chosenPositions, drawn } from "./draws.ts";
import { type Matrix, type PenaltyReference, type PlainLayer, unitsOf } from "./plain-layer.ts";
import {
  byGroups,
  dot,
  normalized,
  ofWeights,
  pairSums,
  product,
  sum,
  throughNorm,
  transposed,
  type ValueAndGradient,
  withGradient,
} from "./plain-math.ts";
import {
  epsilon,
  leastMeanSquare,
  leastVariation,
  type SomOptions,
  weightNormalization,
} from "./som-options.ts";

/** What float32 adds to a cosine of two vectors of numbers near 1: the roundings of tanh, of its products and of their sum. */
const cosineError = 2 ** -22;

/**
 * SOM and its gradient in float64, directly from the formula: the cosine of the normalised responses of every pair of units,
 * with the gradient through the normalisation. The graphs never normalise T and this function does, so that they share no
 * shortcut.
 */
export function somReference(layer: PlainLayer, options: SomOptions): PenaltyReference {
  if (options.angles === "weights") return ofWeights(layer, (rows) => ofAngles(rows, options));
  return options.rows === "random" ? ofDirections(layer, options) : ofBatch(layer, options);
}

/** Responses to random directions x: y = ⟨w, x⟩, dw = Σ dy·x. */
function ofDirections({ weights, groups }: PlainLayer, options: SomOptions): PenaltyReference {
  const { directions, seed } = options;
  const fanIn = weights[0]?.length ?? 0;
  const flat = drawn({ distribution: "sphere", shape: [directions, fanIn], seed, anew: "epoch" });
  const x = Array.from({ length: directions }, (_, i) =>
    Array.from(flat.subarray(i * fanIn, (i + 1) * fanIn)),
  );
  const responses = product(weights, transposed(x));
  const whole = byGroups(responses, groups, (rows) => ofResponses(rows, options));
  const { value, resolution = 0 } = whole;
  return Object.assign(
    withGradient(value, () => ({ weights: product(whole.gradient, x) })),
    { resolution },
  );
}

/** The layer's own responses, prepared by the options. */
function ofBatch(layer: PlainLayer, options: SomOptions): PenaltyReference {
  const { used, units, scales, bias } = preparedUnits(layer, options);
  const of = (vectors: Matrix) => byGroups(vectors, layer.groups, (own) => ofResponses(own, options));
  const whole = of(units);
  const reference = withGradient(whole.value, () => {
    const slopes = whole.gradient.map((unit, i) => {
      const unscaled = unit.map((slope) => slope / (scales[i] ?? 1));
      const mean = options.center ? sum(unscaled) / unscaled.length : 0;
      return unscaled.map((slope) => slope - mean);
    });
    const all = unitsOf(layer);
    const toUnits = all.map((unit, i) => {
      if (used.length === unit.length) return slopes[i] ?? [];
      const slope = unit.map(() => 0);
      used.forEach((row, at) => {
        slope[row] = (slope[row] ?? 0) + (slopes[i]?.[at] ?? Number.NaN);
      });
      return slope;
    });
    return { responses: transposed(toUnits), ...(bias && { bias: slopes.map((unit) => -sum(unit)) }) };
  });
  Object.assign(reference, { resolution: whole.resolution ?? 0 });
  if (options.scale === "none") return reference;
  return Object.assign(reference, {
    held: (other: PlainLayer) => of(preparedUnits(other, options, scales).units).value,
  });
}

/**
 * The rows to compare, one row per unit, with bias and mean removed and scaled if the options say so.
 * @param given - scales of another layer, used instead of its own
 */
function preparedUnits(layer: PlainLayer, options: SomOptions, given?: readonly number[]) {
  const { positions } = layer;
  const { maxRows, center, scale, seed } = options;
  const all = unitsOf(layer);
  // Row by row, as in the graph: a position that was chosen twice would count twice here too.
  const chosen = chosenPositions(positions, maxRows === 0 ? positions : maxRows, seed);
  const samples = Array.from({ length: (all[0]?.length ?? 0) / positions }, (_, i) => i * positions);
  const used = samples.flatMap((first) => chosen.map((position) => first + position));
  const bias = options.bias === "remove" ? layer.bias : undefined;
  const scales: number[] = [];
  const asTheyAre = used.length === all[0]?.length && !bias && !center && scale === "none";
  if (asTheyAre) return { used, units: all, scales, bias };
  const meanSquare = (numbers: readonly number[]) => dot(numbers, numbers) / numbers.length;
  const units = all.map((unit, i) => {
    const plain = used.map((row) => (unit[row] ?? 0) - (bias?.[i] ?? 0));
    const mean = center ? sum(plain) / plain.length : 0;
    const rest = plain.map((y) => y - mean);
    const varies = !center || meanSquare(rest) > leastVariation * meanSquare(plain);
    const centered = varies ? rest : rest.map(() => 0);
    const least = leastVariation * meanSquare(plain) + leastMeanSquare;
    const rms = scale === "rms" ? Math.sqrt(meanSquare(centered) + least) : 1;
    // A unit that does not vary has no slope.
    scales.push(given?.[i] ?? (varies ? rms : Number.POSITIVE_INFINITY));
    return centered.map((y) => y / (given?.[i] ?? rms));
  });
  return { used, units, scales, bias };
}

/** The term of one group, with responses and gradient as `[unit][row]`. */
function ofResponses(responses: Matrix, options: SomOptions): ValueAndGradient {
  const { lambda1, lambda2, gamma, reduction } = options;
  const activations = responses.map((unit) => unit.map((y) => Math.tanh(gamma * y)));
  const { directions, norms } = normalized(activations, { added: epsilon, least: epsilon });
  const pairs = reduction === "mean" ? responses.length * (responses.length - 1) : 1;
  const sums = pairSums(directions);
  const mean = sums.sum / pairs;
  const value = lambda1 * mean ** 2 + (lambda2 * sums.squares) / pairs;
  const whole = withGradient(value, () => {
    const slopes = sums.gradient((2 * lambda1 * mean) / pairs, lambda2 / pairs);
    return activations.map((unit, i) =>
      throughNorm(slopes[i] ?? [], directions[i] ?? [], norms[i] ?? 0).map(
        (slope, row) => gamma * (1 - (unit[row] ?? 0) ** 2) * slope,
      ),
    );
  });
  // Every cosine off by δ: the squared mean by 2·|mean|·δ + δ², each square by 2·|ϑ|·δ + δ², with Σ|ϑ| ≤ √(n·Σϑ²).
  const share = (responses.length * (responses.length - 1)) / pairs;
  const ofMean = share * cosineError;
  const ofSquares = 2 * Math.sqrt((share * sums.squares) / pairs) * cosineError + share * cosineError ** 2;
  const resolution = lambda1 * (2 * Math.abs(mean) + ofMean) * ofMean + lambda2 * ofSquares;
  return Object.assign(whole, { resolution });
}

/** λ1·(mean ϑ)² + λ2·mean ϑ² of the exact angles between weights, with ϑ = (2/π)·arcsine of the cosine. */
function ofAngles(weights: Matrix, { lambda1, lambda2, reduction }: SomOptions): ValueAndGradient {
  const theta = (cosine: number) => {
    // Vectors too close to one line for float32 get the smallest angle that it resolves, and no slope.
    const within = Math.max(-mostCosine, Math.min(cosine, mostCosine));
    const slope = Math.abs(cosine) < mostCosine ? 2 / Math.PI / Math.sqrt(1 - cosine ** 2) : 0;
    return { angle: (2 / Math.PI) * Math.asin(within), slope };
  };
  const { directions, norms } = normalized(weights, weightNormalization);
  const pairs = reduction === "mean" ? weights.length * (weights.length - 1) : 1;
  let [total, squares] = [0, 0];
  eachProduct(directions, (cosine, i, j) => {
    if (i === j) return;
    const { angle } = theta(cosine);
    total += 2 * angle;
    squares += 2 * angle ** 2;
  });
  const mean = total / pairs;
  return withGradient(lambda1 * mean ** 2 + (lambda2 * squares) / pairs, () => {
    const slopes = weightedSums(directions, (cosine, i, j) => {
      if (i === j) return 0;
      const { angle, slope } = theta(cosine);
      // Every pair occurs twice, as ϑᵢⱼ and as ϑⱼᵢ.
      return (2 * slope * (2 * lambda1 * mean + 2 * lambda2 * angle)) / pairs;
    });
    return slopes.map((slope, i) => throughNorm(slope, directions[i] ?? [], norms[i] ?? 0));
  });
}
