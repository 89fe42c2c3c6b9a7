import type { PenaltyReference } from "./penalty.ts";
import { epsilon, type SomOptions } from "./som-options.ts";

/**
 * SOM and its gradient in float64, straight from the formula: every pair of units is compared by the cosine of their
 * normalised responses, and the gradient goes back through the normalisation. The graphs never normalise T; this does,
 * so that the two share no shortcut.
 *
 * @param responses - `[row][unit]`
 * @param groups - units are compared only within `units / groups` neighbours; the result is the mean over groups
 */
export function somReference(
  responses: readonly (readonly number[])[],
  options: SomOptions,
  groups: number,
): PenaltyReference {
  const units = responses[0]?.length ?? 0;
  const size = units / groups;
  const gradient = responses.map((row) => row.map(() => 0));
  let value = 0;
  for (let first = 0; first < units; first += size) {
    const columns = Array.from({ length: size }, (_, unit) => responses.map((row) => row[first + unit] ?? 0));
    const group = somOfGroup(columns, options);
    value += group.value / groups;
    group.gradient.forEach((column, unit) => {
      column.forEach((slope, row) => {
        (gradient[row] as number[])[first + unit] = slope / groups;
      });
    });
  }
  return { value, gradient };
}

/** The term of one group; responses and gradient as `[unit][row]`. */
function somOfGroup(
  responses: readonly (readonly number[])[],
  { lambda1, lambda2, gamma, reduction }: SomOptions,
): { value: number; gradient: number[][] } {
  const activations = responses.map((unit) => unit.map((y) => Math.tanh(gamma * y)));
  const energies = activations.map((unit) => dot(unit, unit));
  const inverseNorms = energies.map((energy) => (energy > epsilon ? 1 / Math.sqrt(energy + epsilon) : 0));
  const directions = activations.map((unit, i) => unit.map((t) => t * (inverseNorms[i] ?? 0)));

  const cosines = directions.map((a, i) => directions.map((b, j) => (i === j ? 0 : dot(a, b))));
  const pairs = reduction === "mean" ? directions.length * (directions.length - 1) : 1;
  const mean = sum(cosines.map(sum)) / pairs;
  const value = lambda1 * mean ** 2 + (lambda2 * sum(cosines.map((row) => dot(row, row)))) / pairs;

  const gradient = activations.map((unit, i) => {
    const inverseNorm = inverseNorms[i] ?? 0;
    const direction = directions[i] ?? [];
    // ∂R/∂zᵢ: every cosine occurs twice, as ϑᵢⱼ and as ϑⱼᵢ.
    const toDirection = unit.map(() => 0);
    directions.forEach((other, j) => {
      if (j === i) return;
      const slope = (2 * (2 * lambda1 * mean + 2 * lambda2 * (cosines[i]?.[j] ?? 0))) / pairs;
      other.forEach((z, row) => {
        toDirection[row] = (toDirection[row] ?? 0) + slope * z;
      });
    });
    // z = t/√(|t|² + ε): ∂R/∂t = (∂R/∂z − z (z·∂R/∂z))/√(|t|² + ε), then through the tanh.
    const along = dot(direction, toDirection);
    return unit.map(
      (t, row) =>
        gamma * (1 - t * t) * ((toDirection[row] ?? 0) - (direction[row] ?? 0) * along) * inverseNorm,
    );
  });
  return { value, gradient };
}

function dot(a: readonly number[], b: readonly number[]): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i] ?? 0) * (b[i] ?? 0);
  return total;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
