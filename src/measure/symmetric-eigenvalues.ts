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
 * triangle alone. Four rows are treated together, because they read the same columns of the vectors; the order of every sum is
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
  for (; i + 3 < n; i += 4) {
    const r0 = i * n;
    const r1 = r0 + n;
    const r2 = r1 + n;
    const r3 = r2 + n;
    const p0 = p[i] as number,
      p1 = p[i + 1] as number,
      p2 = p[i + 2] as number,
      p3 = p[i + 3] as number;
    const q0 = q[i] as number,
      q1 = q[i + 1] as number,
      q2 = q[i + 2] as number,
      q3 = q[i + 3] as number;
    const v0 = v[i] as number,
      v1 = v[i + 1] as number,
      v2 = v[i + 2] as number,
      v3 = v[i + 3] as number;
    const a00 = (a[r0 + i] as number) - p0 * q0 - q0 * p0;
    const a01 = (a[r0 + i + 1] as number) - p0 * q1 - q0 * p1;
    const a02 = (a[r0 + i + 2] as number) - p0 * q2 - q0 * p2;
    const a03 = (a[r0 + i + 3] as number) - p0 * q3 - q0 * p3;
    const a11 = (a[r1 + i + 1] as number) - p1 * q1 - q1 * p1;
    const a12 = (a[r1 + i + 2] as number) - p1 * q2 - q1 * p2;
    const a13 = (a[r1 + i + 3] as number) - p1 * q3 - q1 * p3;
    const a22 = (a[r2 + i + 2] as number) - p2 * q2 - q2 * p2;
    const a23 = (a[r2 + i + 3] as number) - p2 * q3 - q2 * p3;
    const a33 = (a[r3 + i + 3] as number) - p3 * q3 - q3 * p3;
    a[r0 + i] = a00;
    a[r0 + i + 1] = a01;
    a[r0 + i + 2] = a02;
    a[r0 + i + 3] = a03;
    a[r1 + i + 1] = a11;
    a[r1 + i + 2] = a12;
    a[r1 + i + 3] = a13;
    a[r2 + i + 2] = a22;
    a[r2 + i + 3] = a23;
    a[r3 + i + 3] = a33;
    let s0 = a00 * v0 + a01 * v1 + a02 * v2 + a03 * v3;
    let s1 = a11 * v1 + a12 * v2 + a13 * v3;
    let s2 = a22 * v2 + a23 * v3;
    let s3 = a33 * v3;
    for (let j = i + 4; j < n; j++) {
      const pj = p[j] as number;
      const qj = q[j] as number;
      const vj = v[j] as number;
      const x0 = (a[r0 + j] as number) - p0 * qj - q0 * pj;
      const x1 = (a[r1 + j] as number) - p1 * qj - q1 * pj;
      const x2 = (a[r2 + j] as number) - p2 * qj - q2 * pj;
      const x3 = (a[r3 + j] as number) - p3 * qj - q3 * pj;
      a[r0 + j] = x0;
      a[r1 + j] = x1;
      a[r2 + j] = x2;
      a[r3 + j] = x3;
      s0 += x0 * vj;
      s1 += x1 * vj;
      s2 += x2 * vj;
      s3 += x3 * vj;
      w[j] = (w[j] as number) + x0 * v0 + x1 * v1 + x2 * v2 + x3 * v3;
    }
    w[i] = (w[i] as number) + s0;
    w[i + 1] = (w[i + 1] as number) + a01 * v0 + s1;
    w[i + 2] = (w[i + 2] as number) + a02 * v0 + a12 * v1 + s2;
    w[i + 3] = (w[i + 3] as number) + a03 * v0 + a13 * v1 + a23 * v2 + s3;
  }
  for (; i < n; i++) {
    const row = i * n;
    const pi = p[i] as number,
      qi = q[i] as number,
      vi = v[i] as number;
    const own = (a[row + i] as number) - pi * qi - qi * pi;
    a[row + i] = own;
    let sum = own * vi;
    for (let j = i + 1; j < n; j++) {
      const x = (a[row + j] as number) - pi * (q[j] as number) - qi * (p[j] as number);
      a[row + j] = x;
      sum += x * (v[j] as number);
      w[j] = (w[j] as number) + x * vi;
    }
    w[i] = (w[i] as number) + sum;
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
