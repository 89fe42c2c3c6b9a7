import { NumericError } from "../errors.ts";

/**
 * Eigenvalues of a real symmetric matrix, ascending, by Householder tridiagonalization and the implicit QL method with
 * Wilkinson's shift (Golub & Van Loan, "Matrix Computations", 4th ed., §8.3). Errors are about n·2⁻⁵² of the largest.
 * No eigenvectors are computed: n = 1024 takes 0.6 s, 4.3 s with the values-only SVD of the library ml-matrix
 * (docs/decisions.md).
 *
 * @param matrix - [n, n], row by row; only the upper triangle is read; the contents are overwritten
 *
 * @example
 * symmetricEigenvalues(Float64Array.of(2, 1, 1, 2), 2); // Float64Array [1, 3]
 */
export function symmetricEigenvalues(matrix: Float64Array, n: number): Float64Array {
  // After scaling to 1, squares neither overflow nor vanish.
  let largest = 0;
  for (const element of matrix) largest = Math.max(largest, Math.abs(element));
  if (largest === 0) return new Float64Array(n);
  for (let i = 0; i < matrix.length; i++) matrix[i] = (matrix[i] as number) / largest;
  const { diagonal, beside } = tridiagonalize(matrix, n);
  diagonalize(diagonal, beside);
  return diagonal.sort().map((value) => value * largest);
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** `beside[i]` couples i and i + 1. */
  readonly beside: Float64Array;
}

/**
 * Reflects column after column onto its first two elements: A ← A − v·wᵀ − w·vᵀ. The change of one column is made while the
 * next column's product A·v is computed, so that the matrix is read once for each column: twice as fast as two passes.
 */
function tridiagonalize(a: Float64Array, n: number): Tridiagonal {
  const diagonal = new Float64Array(n);
  const beside = new Float64Array(n);
  // The reflection that the rows from k on still lack: none at first.
  let before: Reflection = { v: new Float64Array(n), w: new Float64Array(n) };
  let free: Float64Array = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    // v is the part of the row right of the diagonal, with its first element changed.
    const v = a.subarray(k * n, (k + 1) * n);
    const [vk, wk] = [before.v[k] as number, before.w[k] as number];
    for (let j = k; j < n; j++) {
      v[j] = (v[j] as number) - vk * (before.w[j] as number) - wk * (before.v[j] as number);
    }
    diagonal[k] = v[k] as number;
    if (k + 2 >= n) {
      if (k + 1 < n) beside[k] = v[k + 1] as number;
      continue;
    }
    let squares = 0;
    for (let j = k + 1; j < n; j++) squares += (v[j] as number) ** 2;
    const first = v[k + 1] as number;
    const length = first > 0 ? -Math.sqrt(squares) : Math.sqrt(squares);
    beside[k] = length;
    const half = squares - length * first;
    if (half === 0) continue;
    v[k + 1] = first - length;
    const w = free;
    reflectAndMultiply(a, n, k + 1, before, v, w);
    let along = 0;
    for (let j = k + 1; j < n; j++) {
      const element = (w[j] as number) / half;
      w[j] = element;
      along += element * (v[j] as number);
    }
    along /= 2 * half;
    for (let j = k + 1; j < n; j++) w[j] = (w[j] as number) - along * (v[j] as number);
    free = before.w;
    before = { v, w };
  }
  return { diagonal, beside };
}

/** A ← A − v·wᵀ − w·vᵀ */
interface Reflection {
  readonly v: Float64Array;
  readonly w: Float64Array;
}

/**
 * Applies a reflection to the trailing matrix A, starting at `start`, and computes w = A·v of the result, both from the upper
 * triangle alone. Two rows are treated together, because they read the same columns of the vectors; the order of every sum is
 * that of one row after the other.
 */
function reflectAndMultiply(
  a: Float64Array,
  n: number,
  start: number,
  { v: p, w: q }: Reflection,
  v: Float64Array,
  w: Float64Array,
): void {
  w.fill(0, start);
  let i = start;
  for (; i + 1 < n; i += 2) {
    const row = i * n;
    const next = row + n;
    const [p0, q0, v0] = [p[i] as number, q[i] as number, v[i] as number];
    const [p1, q1, v1] = [p[i + 1] as number, q[i + 1] as number, v[i + 1] as number];
    const own = (a[row + i] as number) - p0 * q0 - q0 * p0;
    const beside = (a[row + i + 1] as number) - p0 * q1 - q0 * p1;
    const other = (a[next + i + 1] as number) - p1 * q1 - q1 * p1;
    a[row + i] = own;
    a[row + i + 1] = beside;
    a[next + i + 1] = other;
    let sum0 = own * v0 + beside * v1;
    let sum1 = other * v1;
    for (let j = i + 2; j < n; j++) {
      const pj = p[j] as number;
      const qj = q[j] as number;
      const vj = v[j] as number;
      const x = (a[row + j] as number) - p0 * qj - q0 * pj;
      const y = (a[next + j] as number) - p1 * qj - q1 * pj;
      a[row + j] = x;
      a[next + j] = y;
      sum0 += x * vj;
      sum1 += y * vj;
      w[j] = (w[j] as number) + x * v0 + y * v1;
    }
    w[i] = (w[i] as number) + sum0;
    w[i + 1] = (w[i + 1] as number) + beside * v0 + sum1;
  }
  if (i < n) {
    const [pi, qi] = [p[i] as number, q[i] as number];
    const own = (a[i * n + i] as number) - pi * qi - qi * pi;
    a[i * n + i] = own;
    w[i] = (w[i] as number) + own * (v[i] as number);
  }
}

/** Most sweeps of a symmetric tridiagonal matrix; no matrix has ever needed more. */
const mostSweeps = 60;

/**
 * Implicit QL: `diagonal` becomes the eigenvalues. A coupling is neglected if it lies below the rounding of the whole matrix,
 * not only of the two numbers that it couples: in a matrix of low rank both are rounding errors themselves, and so is their
 * coupling, however many sweeps follow.
 */
function diagonalize(diagonal: Float64Array, beside: Float64Array): void {
  const n = diagonal.length;
  let largest = 0;
  for (let i = 0; i < n; i++) {
    largest = Math.max(largest, Math.abs(diagonal[i] as number) + Math.abs(beside[i] as number));
  }
  const negligible = Number.EPSILON * largest;
  for (let first = 0; first < n; first++) {
    for (let sweep = 0; ; sweep++) {
      let last = first;
      while (last < n - 1 && Math.abs(beside[last] as number) > negligible) last++;
      if (last === first) break;
      if (sweep === mostSweeps) throw new NumericError("eigenvalues did not converge");
      sweepOnce(diagonal, beside, first, last);
    }
  }
}

/** One sweep of rotations that chases the bulge from `last` up to `first`. */
function sweepOnce(diagonal: Float64Array, beside: Float64Array, first: number, last: number): void {
  const at = (array: Float64Array, i: number) => array[i] as number;
  const ratio = (at(diagonal, first + 1) - at(diagonal, first)) / (2 * at(beside, first));
  const root = Math.sqrt(ratio * ratio + 1);
  let g = at(diagonal, last) - at(diagonal, first) + at(beside, first) / (ratio + (ratio < 0 ? -root : root));
  let [sine, cosine, shift] = [1, 1, 0];
  for (let i = last - 1; i >= first; i--) {
    const f = sine * at(beside, i);
    const b = cosine * at(beside, i);
    const r = Math.sqrt(f * f + g * g);
    beside[i + 1] = r;
    if (r === 0) {
      // The matrix splits here: a sweep of its own does the rest.
      diagonal[i + 1] = at(diagonal, i + 1) - shift;
      beside[last] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    const d = at(diagonal, i + 1) - shift;
    const t = (at(diagonal, i) - d) * sine + 2 * cosine * b;
    shift = sine * t;
    diagonal[i + 1] = d + shift;
    g = cosine * t - b;
  }
  diagonal[first] = at(diagonal, first) - shift;
  beside[first] = g;
  beside[last] = 0;
}
