import type { Matrix, PenaltyReference, PlainLayer } from "./plain-layer.ts";

/** Arithmetic of references: plain arrays, float64, nothing clever. */

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
export const gramOf = (rows: Matrix): number[][] => rows.map((a) => rows.map((b) => dot(a, b)));

/** [m][k] times [k][n]. */
export function product(a: Matrix, b: Matrix): number[][] {
  const columns = transposed(b);
  return a.map((row) => columns.map((column) => dot(row, column)));
}

/** Every entry through a function of it and its place. */
export const mapped = (
  matrix: Matrix,
  of: (value: number, row: number, column: number) => number,
): number[][] => matrix.map((row, i) => row.map((value, j) => of(value, i, j)));

/** The sum of all entries. */
export const total = (matrix: Matrix): number => sum(matrix.map(sum));

/** The mean over groups of what `of` makes of each group's vectors, one row a unit. */
export function byGroups(
  vectors: Matrix,
  groups: number,
  of: (vectors: Matrix) => { value: number; gradient: Matrix },
): { value: number; gradient: number[][] } {
  const size = vectors.length / groups;
  const parts = Array.from({ length: groups }, (_, i) => of(vectors.slice(i * size, (i + 1) * size)));
  return {
    value: sum(parts.map(({ value }) => value)) / groups,
    gradient: parts.flatMap(({ gradient }) => mapped(gradient, (slope) => slope / groups)),
  };
}

/** A penalty on weights: the mean over groups of what `of` makes of each group's vectors, one row a unit. */
export function ofWeights(
  { weights, groups }: Pick<PlainLayer, "weights" | "groups">,
  of: (vectors: Matrix) => { value: number; gradient: Matrix },
): PenaltyReference {
  const { value, gradient } = byGroups(weights, groups, of);
  return { value, gradient: { weights: gradient } };
}

/** The same of W or of Wᵀ, whichever has fewer rows. */
export function onSmallerSide(
  rows: Matrix,
  of: (vectors: Matrix) => { value: number; gradient: Matrix },
): { value: number; gradient: Matrix } {
  if ((rows[0]?.length ?? 0) >= rows.length) return of(rows);
  const { value, gradient } = of(transposed(rows));
  return { value, gradient: transposed(gradient) };
}

/** ‖VVᵀ − I‖². */
export const excessSquares = (vectors: Matrix): { value: number; gradient: number[][] } =>
  fromGram(vectors, (entry, i, j) => {
    const excess = entry - (i === j ? 1 : 0);
    return { value: excess ** 2, slope: 2 * excess };
  });

/** v/√(|v|² + added), 0 where |v|² is not above `least`; and those roots (0 there). */
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
 * Σ f(⟨vᵢ, vⱼ⟩) over all pairs, i = j too, and its gradient 2·S·V for a symmetric S = f′.
 */
export function fromGram(
  vectors: Matrix,
  of: (product: number, i: number, j: number) => { value: number; slope: number },
): { value: number; gradient: number[][] } {
  const terms = gramOf(vectors).map((row, i) => row.map((entry, j) => of(entry, i, j)));
  const slopes = terms.map((row) => row.map(({ slope }) => 2 * slope));
  return { value: sum(terms.flat().map(({ value }) => value)), gradient: product(slopes, vectors) };
}

/**
 * Σ f(cᵢⱼ) over all pairs, i = j too, of the cosines cᵢⱼ = ⟨zᵢ, zⱼ⟩ of normalised vectors, and its gradient for a symmetric
 * f′: back through each vector's own norm.
 */
export function fromCosines(
  vectors: Matrix,
  normalization: { added: number; least: number },
  of: (cosine: number, i: number, j: number) => { value: number; slope: number },
): { value: number; gradient: number[][] } {
  const { directions, norms } = normalized(vectors, normalization);
  const { value, gradient } = fromGram(directions, of);
  return {
    value,
    gradient: gradient.map((slope, i) => throughNorm(slope, directions[i] ?? [], norms[i] ?? 0)),
  };
}
