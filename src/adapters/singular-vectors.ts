import { Random } from "../random.ts";

/** The singular values are checked again after this many directions. */
const between = 16;

/**
 * The first singular vectors of a matrix, in float64: Lanczos' iteration on WᵀW with every direction orthogonal to all before it
 * (Golub and Van Loan, Matrix Computations, section 10.3), until the squares of the singular values stand to 1e-11 of the first.
 * Equal input gives equal bits.
 * @param matrix - W: [rows, columns]
 * @param count - at most min(rows, columns)
 * @returns the left ones [count, rows] and the right ones [count, columns], one vector a row; zeros for a singular value of 0
 */
export function singularVectors(
  matrix: Float64Array,
  rows: number,
  columns: number,
  count: number,
): { readonly left: Float64Array; readonly right: Float64Array } {
  const random = new Random("singular vectors", 0);
  const anyDirection = () =>
    timesTransposed(
      matrix,
      rows,
      columns,
      Float64Array.from({ length: rows }, () => random.uniform() - 0.5),
    );
  const most = Math.min(rows, columns);
  const directions: Float64Array[] = [];
  const images: Float64Array[] = [];
  let next = anyDirection();
  let before: readonly number[] = [];
  while (directions.length < most) {
    // If WᵀW maps the directions found so far among themselves, the search goes on from a new direction.
    if (!makeUnit(next, directions)) {
      next = anyDirection();
      if (!makeUnit(next, directions)) break;
    }
    const image = times(matrix, rows, columns, next);
    directions.push(next);
    images.push(image);
    next = timesTransposed(matrix, rows, columns, image);
    const enough = directions.length >= count && directions.length % between === 0;
    if (!enough || directions.length === most) continue;
    const values = eigenvectors(productsOf(images)).map(({ value }) => value);
    const scale = values[0] ?? 0;
    const still = values
      .slice(0, count)
      .every((value, i) => Math.abs(value - (before[i] ?? 0)) <= 1e-11 * scale);
    if (still) break;
    before = values;
  }
  const found = eigenvectors(productsOf(images));
  const least = 1e-14 * (found[0]?.value ?? 0);
  const combined = (vectors: readonly Float64Array[], length: number) => {
    const all = new Float64Array(count * length);
    for (const [i, { value, vector }] of found.slice(0, count).entries()) {
      if (value <= least) continue;
      const one = combination(vectors, vector);
      makeUnit(one, []);
      all.set(one, i * length);
    }
    return all;
  };
  return { left: combined(images, rows), right: combined(directions, columns) };
}

/** The products of all pairs. */
const productsOf = (vectors: readonly Float64Array[]): number[][] =>
  vectors.map((a) => vectors.map((b) => dot(a, b)));

function times(matrix: Float64Array, rows: number, columns: number, vector: Float64Array): Float64Array {
  const result = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    const start = i * columns;
    for (let j = 0; j < columns; j++) sum += (matrix[start + j] as number) * (vector[j] as number);
    result[i] = sum;
  }
  return result;
}

function timesTransposed(
  matrix: Float64Array,
  rows: number,
  columns: number,
  vector: Float64Array,
): Float64Array {
  const result = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    const factor = vector[i] as number;
    const start = i * columns;
    for (let j = 0; j < columns; j++) {
      result[j] = (result[j] as number) + factor * (matrix[start + j] as number);
    }
  }
  return result;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

function combination(vectors: readonly Float64Array[], shares: readonly number[]): Float64Array {
  const result = new Float64Array(vectors[0]?.length ?? 0);
  for (const [i, vector] of vectors.entries()) {
    const share = shares[i] ?? 0;
    for (let j = 0; j < result.length; j++) result[j] = (result[j] ?? 0) + share * (vector[j] ?? 0);
  }
  return result;
}

/**
 * Makes a vector orthogonal to orthonormal ones, twice for rounding, and gives it length 1.
 * @returns whether something of it is left
 */
function makeUnit(vector: Float64Array, others: readonly Float64Array[]): boolean {
  const whole = Math.sqrt(dot(vector, vector));
  for (let pass = 0; pass < 2; pass++) {
    for (const other of others) {
      const share = dot(vector, other);
      for (let j = 0; j < vector.length; j++) {
        vector[j] = (vector[j] as number) - share * (other[j] as number);
      }
    }
  }
  const length = Math.sqrt(dot(vector, vector));
  if (length <= 1e-12 * whole) return false;
  for (let j = 0; j < vector.length; j++) vector[j] = (vector[j] as number) / length;
  return true;
}

/** The eigenvectors of a small symmetric matrix, the largest eigenvalues first (Jacobi's rotations). */
function eigenvectors(
  given: readonly (readonly number[])[],
): readonly { readonly value: number; readonly vector: readonly number[] }[] {
  const n = given.length;
  const a = given.map((row) => Float64Array.from(row));
  const turns = a.map((_, i) => Float64Array.from({ length: n }, (__, j) => (i === j ? 1 : 0)));
  const at = (m: readonly Float64Array[], i: number, j: number): number => m[i]?.[j] as number;
  const largest = Math.max(0, ...a.map((_, i) => Math.abs(at(a, i, i))));
  for (let sweep = 0; sweep < 60; sweep++) {
    let turned = false;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const off = at(a, p, q);
        if (Math.abs(off) <= 1e-16 * largest) continue;
        turned = true;
        const theta = (at(a, q, q) - at(a, p, p)) / (2 * off);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (const row of a) {
          const [u, v] = [row[p] as number, row[q] as number];
          row[p] = c * u - s * v;
          row[q] = s * u + c * v;
        }
        for (const m of [a, turns]) turnRows(m[p] as Float64Array, m[q] as Float64Array, c, s);
      }
    }
    if (!turned) break;
  }
  return a
    .map((_, i) => ({ value: at(a, i, i), vector: [...(turns[i] as Float64Array)] }))
    .sort((x, y) => y.value - x.value);
}

/** Turns two rows in their plane. */
function turnRows(x: Float64Array, y: Float64Array, c: number, s: number): void {
  for (let k = 0; k < x.length; k++) {
    const [u, v] = [x[k] as number, y[k] as number];
    x[k] = c * u - s * v;
    y[k] = s * u + c * v;
  }
}
