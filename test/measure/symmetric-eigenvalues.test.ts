import { describe, expect, test } from "vitest";
import { singularValues, spectralFigures } from "../../src/measure/spectrum.ts";
import { symmetricEigenvalues } from "../../src/measure/symmetric-eigenvalues.ts";
import { maxDifference, randomNormals } from "../helpers/numbers.ts";

const matrix = (n: number, at: (i: number, j: number) => number) =>
  Float64Array.from({ length: n * n }, (_, index) => at(Math.floor(index / n), index % n));

/** Jacobi's rotations, another way to the same numbers. */
function jacobi(a: Float64Array, n: number): number[] {
  const m = Array.from({ length: n }, (_, i) => [...a.subarray(i * n, (i + 1) * n)]);
  const at = (i: number, j: number) => (m[i] as number[])[j] as number;
  for (let sweep = 0; sweep < 30; sweep++) {
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        if (at(p, q) === 0) continue;
        const theta = Math.atan2(2 * at(p, q), at(q, q) - at(p, p)) / 2;
        const [c, s] = [Math.cos(theta), Math.sin(theta)];
        for (const row of m) {
          const [x, y] = [row[p] as number, row[q] as number];
          row[p] = c * x - s * y;
          row[q] = s * x + c * y;
        }
        const [upper, lower] = [m[p] as number[], m[q] as number[]];
        m[p] = upper.map((x, i) => c * x - s * (lower[i] as number));
        m[q] = upper.map((x, i) => s * x + c * (lower[i] as number));
      }
    }
  }
  return m.map((_, i) => at(i, i)).sort((x, y) => x - y);
}

describe("symmetricEigenvalues", () => {
  test.each([
    [1, [-3], [-3]],
    [2, [2, 1, 1, 2], [1, 3]],
    [2, [0, 5, 5, 0], [-5, 5]],
    [3, [0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0]],
    [3, [1, 1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 3]],
    [4, [7, 0, 0, 0, 0, -2, 0, 0, 0, 0, 7, 0, 0, 0, 0, 1], [-2, 1, 7, 7]],
  ])("%i: %j", (n, elements, expected) => {
    expect(maxDifference(symmetricEigenvalues(Float64Array.from(elements), n), expected)).toBeLessThan(1e-14);
  });

  test.each([
    [128, 64],
    [200, 100],
    [300, 3],
  ])("%i numbers a side of rank %i, whose other eigenvalues are rounding errors", (n, rank) => {
    const vectors = Float64Array.from(randomNormals(`rank ${rank} of ${n}`, n * rank));
    const row = (i: number) => vectors.subarray(i * rank, (i + 1) * rank);
    const product = (a: Float64Array, b: Float64Array) =>
      a.reduce((sum, x, c) => sum + x * (b[c] as number), 0);
    const gram = matrix(n, (i, j) => product(row(i), row(j)));
    const column = (c: number) => Float64Array.from({ length: n }, (_, i) => vectors[i * rank + c] as number);
    const small = matrix(rank, () => 0).map((_, at) =>
      product(column(Math.floor(at / rank)), column(at % rank)),
    );
    const found = symmetricEigenvalues(gram, n);
    const expected = [...new Array<number>(n - rank).fill(0), ...symmetricEigenvalues(small, rank)];
    const largest = expected.at(-1) ?? 0;
    expect(maxDifference(found, expected) / largest).toBeLessThan(1e-14);
  });

  test.each([5, 50, 200])("a path of %i points: 2 − 2·cos(πk/n)", (n) => {
    const laplacian = matrix(n, (i, j) => {
      if (i !== j) return Math.abs(i - j) === 1 ? -1 : 0;
      return i === 0 || i === n - 1 ? 1 : 2;
    });
    const expected = Array.from({ length: n }, (_, k) => 2 - 2 * Math.cos((Math.PI * k) / n));
    expect(maxDifference(symmetricEigenvalues(laplacian, n), expected)).toBeLessThan(1e-14 * n);
  });

  test.each([3, 12, 40, 41])("random matrices of %i: as by Jacobi's rotations, whatever their scale", (n) => {
    const random = randomNormals(`symmetric ${n}`, n * n);
    for (const scale of [1, 1e-200, 1e200]) {
      const a = matrix(n, (i, j) => scale * (random[Math.min(i, j) * n + Math.max(i, j)] as number));
      const expected = jacobi(
        a.map((x) => x / scale),
        n,
      );
      const found = symmetricEigenvalues(a, n).map((x) => x / scale);
      expect(maxDifference(found, expected)).toBeLessThan(1e-13 * n);
    }
  });

  test("many equal eigenvalues", () => {
    // I + v·vᵀ with |v|² = 8
    const v = randomNormals("spike", 60);
    const length = Math.hypot(...v);
    const a = matrix(60, (i, j) => +(i === j) + (8 * (v[i] as number) * (v[j] as number)) / length ** 2);
    const found = symmetricEigenvalues(a, 60);
    expect(maxDifference(found.subarray(0, 59), new Float64Array(59).fill(1))).toBeLessThan(1e-13);
    expect(found[59]).toBeCloseTo(9, 12);
  });

  test("only the upper triangle is read", () => {
    expect([...symmetricEigenvalues(Float64Array.of(2, 1, Number.NaN, 2).fill(9, 2, 3), 2)]).toEqual([1, 3]);
  });
});

describe("spectralFigures", () => {
  test("equal singular values: full ranks, condition 1", () => {
    const figures = spectralFigures(new Float64Array(6).fill(2));
    expect(figures).toMatchObject({
      count: 6,
      largest: 2,
      smallest: 2,
      condition: 1,
      rank: 6,
      stableRank: 6,
    });
    expect(figures.effectiveRank).toBeCloseTo(6, 12);
  });

  test("one direction: ranks of 1, no condition", () => {
    const figures = spectralFigures(singularValues([9, 1e-20, -1e-20], 3));
    expect(figures).toMatchObject({
      rank: 1,
      smallest: 0,
      condition: Number.POSITIVE_INFINITY,
      stableRank: 1,
    });
    expect(figures.effectiveRank).toBeCloseTo(1, 12);
  });

  test("nothing at all", () => {
    const { largest, condition, stableRank, effectiveRank, rank } = spectralFigures(new Float64Array(3));
    expect([largest, condition, stableRank, effectiveRank, rank]).toEqual([0, NaN, NaN, NaN, 0]);
  });
});
