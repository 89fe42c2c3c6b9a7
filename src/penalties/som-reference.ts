import { mostCosine } from "./arcsine.ts";
import { chosenPositions, drawn } from "./draws.ts";
import type { Matrix, PenaltyReference, PlainLayer } from "./plain-layer.ts";
import { byGroups, dot, normalized, ofWeights, sum, throughNorm, transposed } from "./plain-math.ts";
import {
  epsilon,
  leastMeanSquare,
  leastVariation,
  type SomOptions,
  weightNormalization,
} from "./som-options.ts";

/**
 * SOM and its gradient in float64, straight from the formula: every pair of units is compared by the cosine of their
 * normalised responses, and the gradient goes back through the normalisation. The graphs never normalise T; this does,
 * so that the two share no shortcut.
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
  const responses = weights.map((unit) => x.map((direction) => dot(unit, direction)));
  const { value, gradient } = byGroups(responses, groups, (rows) => ofResponses(rows, options));
  return {
    value,
    gradient: {
      weights: gradient.map((slopes) =>
        Array.from({ length: fanIn }, (_, i) =>
          slopes.reduce((total, slope, row) => total + slope * (x[row]?.[i] ?? 0), 0),
        ),
      ),
    },
  };
}

/** The layer's own responses, prepared as the options say. */
function ofBatch(layer: PlainLayer, options: SomOptions): PenaltyReference {
  const { responses, positions, groups } = layer;
  const { maxRows, center, scale } = options;
  // Row by row as the graph reads them: a position that were chosen twice would count twice here too.
  const chosen = chosenPositions(positions, maxRows === 0 ? positions : maxRows, options.seed);
  const samples = Array.from({ length: responses.length / positions }, (_, sample) => sample * positions);
  const used = samples.flatMap((first) => chosen.map((position) => first + position));
  const bias = options.bias === "remove" ? layer.bias : undefined;
  const prepared = transposed(used.map((row) => responses[row] ?? [])).map((unit, i) => {
    const plain = unit.map((y) => y - (bias?.[i] ?? 0));
    const mean = center ? sum(plain) / plain.length : 0;
    const meanSquare = (numbers: readonly number[]) => dot(numbers, numbers) / numbers.length;
    const rest = plain.map((y) => y - mean);
    const varies = !center || meanSquare(rest) > leastVariation * meanSquare(plain);
    const centered = varies ? rest : rest.map(() => 0);
    const least = leastVariation * meanSquare(plain) + leastMeanSquare;
    const rms = scale === "rms" ? Math.sqrt(meanSquare(centered) + least) : 1;
    return { rows: centered.map((y) => y / rms), rms, varies };
  });
  const { value, gradient } = byGroups(
    prepared.map(({ rows }) => rows),
    groups,
    (rows) => ofResponses(rows, options),
  );
  const slopes = gradient.map((unit, i) => {
    const { rms = 1, varies = true } = prepared[i] ?? {};
    const unscaled = unit.map((slope) => (varies ? slope / rms : 0));
    const mean = center ? sum(unscaled) / unscaled.length : 0;
    return unscaled.map((slope) => slope - mean);
  });
  const toResponses = responses.map((row) => row.map(() => 0));
  used.forEach((row, at) => {
    const slope = toResponses[row] as number[];
    slopes.forEach((unit, i) => {
      slope[i] = (slope[i] ?? 0) + (unit[at] ?? Number.NaN);
    });
  });
  return {
    value,
    gradient: {
      responses: toResponses,
      ...(bias && { bias: slopes.map((unit) => -sum(unit)) }),
    },
    ...(scale === "rms" && { notIntegrated: "the root mean square counts as constant" }),
  };
}

/** The term of one group; responses and gradient as `[unit][row]`. */
function ofResponses(
  responses: Matrix,
  { lambda1, lambda2, gamma, reduction }: SomOptions,
): { value: number; gradient: number[][] } {
  const activations = responses.map((unit) => unit.map((y) => Math.tanh(gamma * y)));
  const { value, slopes, directions, norms } = ofCosines(
    activations,
    { added: epsilon, least: epsilon },
    (cosine) => ({ angle: cosine, slope: 1 }),
    { lambda1, lambda2, reduction },
  );
  const gradient = activations.map((unit, i) =>
    throughNorm(slopes[i] ?? [], directions[i] ?? [], norms[i] ?? 0).map(
      (slope, row) => gamma * (1 - (unit[row] ?? 0) ** 2) * slope,
    ),
  );
  return { value, gradient };
}

/** The same of the exact angles between weights. */
function ofAngles(weights: Matrix, options: SomOptions): { value: number; gradient: number[][] } {
  const { value, slopes, directions, norms } = ofCosines(
    weights,
    weightNormalization,
    (cosine) => {
      // Vectors closer to one line than float32 can tell have the angle at which it can, and no slope.
      const within = Math.max(-mostCosine, Math.min(cosine, mostCosine));
      const slope = Math.abs(cosine) < mostCosine ? 2 / Math.PI / Math.sqrt(1 - cosine ** 2) : 0;
      return { angle: (2 / Math.PI) * Math.asin(within), slope };
    },
    options,
  );
  return {
    value,
    gradient: weights.map((_, i) => throughNorm(slopes[i] ?? [], directions[i] ?? [], norms[i] ?? 0)),
  };
}

/** λ1·(mean ϑ)² + λ2·mean ϑ² over pairs of vectors, and its gradient with respect to their directions. */
function ofCosines(
  vectors: Matrix,
  normalization: { added: number; least: number },
  theta: (cosine: number) => { angle: number; slope: number },
  { lambda1, lambda2, reduction }: Pick<SomOptions, "lambda1" | "lambda2" | "reduction">,
): { value: number; slopes: number[][]; directions: number[][]; norms: number[] } {
  const { directions, norms } = normalized(vectors, normalization);
  const angles = directions.map((a, i) =>
    directions.map((b, j) => (i === j ? { angle: 0, slope: 0 } : theta(dot(a, b)))),
  );
  const pairs = reduction === "mean" ? vectors.length * (vectors.length - 1) : 1;
  const mean = sum(angles.flat().map(({ angle }) => angle)) / pairs;
  const squares = sum(angles.flat().map(({ angle }) => angle ** 2)) / pairs;
  const slopes = directions.map((direction, i) => {
    // Every pair occurs twice, as ϑᵢⱼ and as ϑⱼᵢ.
    const toDirection = direction.map(() => 0);
    directions.forEach((other, j) => {
      const { angle, slope } = angles[i]?.[j] ?? { angle: 0, slope: 0 };
      const factor = (2 * slope * (2 * lambda1 * mean + 2 * lambda2 * angle)) / pairs;
      other.forEach((z, row) => {
        toDirection[row] = (toDirection[row] ?? 0) + factor * z;
      });
    });
    return toDirection;
  });
  return { value: lambda1 * mean ** 2 + lambda2 * squares, slopes, directions, norms };
}
