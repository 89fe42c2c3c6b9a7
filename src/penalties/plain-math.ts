import { eachCrossProduct, eachProduct, weightedSums } from "./block-products.ts";
import type { Matrix, PenaltyReference, PlainLayer } from "./plain-layer.ts";

/** Arithmetic of references on plain float64 arrays. Products of many vectors are taken in blocks, without a matrix of all pairs. */

/** A value and its gradient, with one row per vector. */
export interface ValueAndGradient {
  readonly value: number;
  readonly gradient: Matrix;
  readonly resolution?: number;
}

/** A value whose gradient is computed when it is first asked for. */
export function withGradient<G>(
  value: number,
  gradient: () => G,
): { readonly value: number; readonly gradient: G } {
  let known: G | undefined;
  return {
    value,
    get gradient() {
      known ??= gradient();
      return known;
    },
  };
}

export function dot(a: readonly number[], b: readonly number[]): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i] ?? 0) * (b[i] ?? 0);
  return total;
}

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** [m][n] as [n][m]. */
export const transposed = (matrix: Matrix): number[][] =>
  Array.from({ length: matrix[0]?.length ?? 0 }, (_, column) => matrix.map((row) => row[column] ?? 0));

/** The products of all pairs of rows. */
export function gramOf(rows: Matrix): number[][] {
  const gram = rows.map(() => new Array<number>(rows.length).fill(0));
  eachProduct(rows, (product, i, j) => {
    (gram[i] as number[])[j] = product;
    (gram[j] as number[])[i] = product;
  });
  return gram;
}

/** [m][k] times [k][n]. */
export function product(a: Matrix, b: Matrix): number[][] {
  const columns = transposed(b);
  const result = a.map(() => new Array<number>(columns.length).fill(0));
  eachCrossProduct(a, columns, (entry, i, j) => {
    (result[i] as number[])[j] = entry;
  });
  return result;
}

/** Applies a function of entry and place to every entry. */
export const mapped = (
  matrix: Matrix,
  of: (value: number, row: number, column: number) => number,
): number[][] => matrix.map((row, i) => row.map((value, j) => of(value, i, j)));

/** The mean over groups of `of`, applied to each group's vectors, one row per unit. */
export function byGroups(
  vectors: Matrix,
  groups: number,
  of: (vectors: Matrix) => ValueAndGradient,
): ValueAndGradient {
  const size = vectors.length / groups;
  const parts = Array.from({ length: groups }, (_, i) => of(vectors.slice(i * size, (i + 1) * size)));
  const whole = withGradient(sum(parts.map(({ value }) => value)) / groups, () =>
    parts.flatMap(({ gradient }) => mapped(gradient, (slope) => slope / groups)),
  );
  return Object.assign(whole, { resolution: sum(parts.map(({ resolution = 0 }) => resolution)) / groups });
}

/** A penalty on weights: the mean over groups of `of`, applied to each group's vectors, one row per unit. */
export function ofWeights(
  { weights, groups }: Pick<PlainLayer, "weights" | "groups">,
  of: (vectors: Matrix) => ValueAndGradient,
): PenaltyReference {
  const whole = byGroups(weights, groups, of);
  return withGradient(whole.value, () => ({ weights: whole.gradient }));
}

/** The same of W or of Wᵀ, whichever has fewer rows. */
export function onSmallerSide(rows: Matrix, of: (vectors: Matrix) => ValueAndGradient): ValueAndGradient {
  if ((rows[0]?.length ?? 0) >= rows.length) return of(rows);
  const turned = of(transposed(rows));
  return withGradient(turned.value, () => transposed(turned.gradient));
}

/** ‖VVᵀ − I‖². */
export const excessSquares = (vectors: Matrix): ValueAndGradient =>
  fromGram(vectors, (entry, i, j) => {
    const excess = entry - (i === j ? 1 : 0);
    return { value: excess ** 2, slope: 2 * excess };
  });

/** v/√(|v|² + added), or 0 if |v|² is not above `least`; and the roots (0 in that case). */
export function normalized(
  vectors: Matrix,
  { added, least }: { added: number; least: number },
): { directions: number[][]; norms: number[] } {
  const norms = vectors.map((vector) => {
    const energy = dot(vector, vector);
    return energy > least ? Math.sqrt(energy + added) : 0;
  });
  const directions = vectors.map((vector, i) => {
    const norm = norms[i] ?? 0;
    return vector.map((v) => (norm === 0 ? 0 : v / norm));
  });
  return { directions, norms };
}

/** z = v/√(|v|² + ε): ∂R/∂v = (∂R/∂z − z (z·∂R/∂z))/√(|v|² + ε). */
export function throughNorm(slope: readonly number[], direction: readonly number[], norm: number): number[] {
  const along = dot(direction, slope);
  return slope.map((s, i) => (norm === 0 ? 0 : (s - (direction[i] ?? 0) * along) / norm));
}

/**
 * Σ f(⟨vᵢ, vⱼ⟩) over all pairs, including i = j, and its gradient 2·S·V with S = f′, for a symmetric f.
 */
export function fromGram(
  vectors: Matrix,
  of: (product: number, i: number, j: number) => { value: number; slope: number },
): ValueAndGradient {
  let value = 0;
  eachProduct(vectors, (entry, i, j) => {
    value += (i === j ? 1 : 2) * of(entry, i, j).value;
  });
  return withGradient(value, () => weightedSums(vectors, (entry, i, j) => 2 * of(entry, i, j).slope));
}

/**
 * Σ f(cᵢⱼ) over all pairs, including i = j, of the cosines cᵢⱼ = ⟨zᵢ, zⱼ⟩ of normalised vectors, and its gradient through each
 * vector's norm, for a symmetric f.
 */
export function fromCosines(
  vectors: Matrix,
  normalization: { added: number; least: number },
  of: (cosine: number, i: number, j: number) => { value: number; slope: number },
): ValueAndGradient {
  const { directions, norms } = normalized(vectors, normalization);
  const cosines = fromGram(directions, of);
  return withGradient(cosines.value, () =>
    cosines.gradient.map((slope, i) => throughNorm(slope, directions[i] ?? [], norms[i] ?? 0)),
  );
}

/** Sums of ⟨vᵢ, vⱼ⟩ and of its square over all i ≠ j, and the gradient of a·sum + c·squares. */
interface PairSums {
  readonly sum: number;
  readonly squares: number;
  readonly gradient: (a: number, c: number) => Matrix;
}

/** {@link PairSums}, pair by pair or, if there are more vectors than numbers in each, from ‖VVᵀ‖² = ‖VᵀV‖². */
export function pairSums(vectors: Matrix): PairSums {
  const all = new Array<number>(vectors[0]?.length ?? 0).fill(0);
  for (const vector of vectors) {
    for (let row = 0; row < all.length; row++) all[row] = (all[row] ?? 0) + (vector[row] ?? 0);
  }
  const lengths = vectors.map((vector) => dot(vector, vector));
  const short = all.length < vectors.length;
  let squares = 0;
  eachProduct(short ? transposed(vectors) : vectors, (entry, i, j) => {
    if (short || i !== j) squares += (i === j ? 1 : 2) * entry ** 2;
  });
  if (short) squares -= sum(lengths.map((length) => length ** 2));
  return {
    sum: dot(all, all) - sum(lengths),
    squares: Math.max(squares, 0),
    gradient: (a, c) => {
      // Σ over j ≠ i of ⟨zᵢ, zⱼ⟩·zⱼ
      const toSquares = short
        ? transposed(weightedSums(transposed(vectors), (entry) => entry)).map((slope, i) =>
            slope.map((s, row) => s - (lengths[i] ?? 0) * (vectors[i]?.[row] ?? 0)),
          )
        : weightedSums(vectors, (entry, i, j) => (i === j ? 0 : entry));
      return toSquares.map((slope, i) =>
        slope.map((s, row) => 4 * c * s + 2 * a * ((all[row] ?? 0) - (vectors[i]?.[row] ?? 0))),
      );
    },
  };
}
