import { describe, expect, test } from "vitest";
import {
  angleStatistics,
  randomSpread,
  responseAngleStatistics,
  type UnitMatrix,
} from "../../src/report/angle-statistics.ts";
import { randomNormals } from "../helpers/numbers.ts";

const matrix = (rows: number[][], groups = 1): UnitMatrix => ({
  ...{ units: rows.length, fanIn: rows[0]?.length ?? 0, groups },
  data: Float64Array.from(rows.flat()),
});

/** All angles, pair by pair, in the obvious way. */
function bruteForce({ units, fanIn, groups, data }: UnitMatrix): number[] {
  const rows = Array.from({ length: units }, (_, i) => [...data.slice(i * fanIn, (i + 1) * fanIn)]);
  const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
  const angles: number[] = [];
  rows.forEach((a, i) => {
    rows.forEach((b, j) => {
      const sameGroup = Math.floor((i * groups) / units) === Math.floor((j * groups) / units);
      if (j <= i || !sameGroup || dot(a, a) * dot(b, b) === 0) return;
      const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
      angles.push((Math.acos(Math.min(1, Math.max(-1, cosine))) * 180) / Math.PI);
    });
  });
  return angles;
}

describe("angleStatistics", () => {
  test("the histogram counts every pair in its bin of two degrees", () => {
    const random = matrix(Array.from({ length: 12 }, (_, i) => [...randomNormals(`histogram ${i}`, 5)]));
    const expected = new Array<number>(90).fill(0);
    for (const angle of bruteForce(random)) {
      const bin = Math.min(89, Math.floor(angle / 2));
      expected[bin] = (expected[bin] ?? 0) + 1;
    }
    expect(angleStatistics(random).histogram).toEqual(expected);
    const opposite = angleStatistics(matrix([[1], [-1], [1]])).histogram;
    expect([opposite[0], opposite[89]]).toEqual([1, 2]);
  });

  test("an identity is orthogonal", () => {
    const identity = Array.from({ length: 9 }, (_, i) => Array.from({ length: 9 }, (_, j) => +(i === j)));
    const { mean, spread, min, max, pairs, dead } = angleStatistics(matrix(identity));
    expect({ pairs, dead }).toEqual({ pairs: 36, dead: 0 });
    for (const angle of [mean, min, max]) expect(angle).toBeCloseTo(90, 12);
    expect(spread).toBeCloseTo(0, 12);
  });

  test.each([
    [
      "duplicates",
      [
        [1, 2, 3],
        [2, 4, 6],
      ],
      0,
    ],
    [
      "opposites",
      [
        [1, 2, 3],
        [-0.5, -1, -1.5],
      ],
      180,
    ],
    [
      "a diagonal",
      [
        [1, 0],
        [1, 1],
      ],
      45,
    ],
    [
      "tiny and huge numbers",
      [
        [1e-30, 0],
        [1e30, 1e30],
      ],
      45,
    ],
  ])("%s", (_, rows, expected) => {
    const { mean, min, max } = angleStatistics(matrix(rows));
    // acos magnifies the rounding of a cosine near 1: 1e-16 is 1e-8 in radians.
    for (const angle of [mean, min, max]) expect(angle).toBeCloseTo(expected, 5);
  });

  test.each([
    [2, 3, 1],
    [3, 5, 1],
    [7, 16, 1],
    [64, 9, 1],
    [65, 4, 1],
    [131, 20, 1],
    [12, 6, 3],
    [140, 3, 2],
  ])("%i units of %i numbers in %i groups: as pair by pair", (units, fanIn, groups) => {
    const data = randomNormals(`angles ${units} ${fanIn}`, units * fanIn);
    data.fill(0, fanIn, 2 * fanIn);
    const layer = { units, fanIn, groups, data };
    const angles = bruteForce(layer);
    const { pairs, mean, spread, min, max, dead } = angleStatistics(layer);
    expect([pairs, dead]).toEqual([angles.length, 1]);
    if (angles.length === 0) return;
    const average = angles.reduce((sum, angle) => sum + angle, 0) / angles.length;
    const variance = angles.reduce((sum, angle) => sum + (angle - average) ** 2, 0) / angles.length;
    expect(mean).toBeCloseTo(average, 9);
    expect(spread).toBeCloseTo(Math.sqrt(variance), 6);
    expect(min).toBeCloseTo(Math.min(...angles), 9);
    expect(max).toBeCloseTo(Math.max(...angles), 9);
  });

  test("without living pairs there is no angle", () => {
    const { pairs, mean, min, dead } = angleStatistics(
      matrix([
        [0, 0],
        [1, 0],
        [0, 0],
      ]),
    );
    expect([pairs, mean, min, dead]).toEqual([0, Number.NaN, Number.NaN, 2]);
  });
});

describe("randomSpread", () => {
  test("one and two dimensions in closed form", () => {
    expect(randomSpread(1)).toBeCloseTo(90, 12);
    expect(randomSpread(2)).toBeCloseTo(180 / Math.sqrt(12), 12);
  });

  test.each([3, 4, 10, 147, 784, 25088])("%i dimensions: as the density sin^(d−2) integrated", (d) => {
    const steps = 200_000;
    let [mass, moment] = [0, 0];
    for (let i = 0; i < steps; i++) {
      const theta = ((i + 0.5) / steps) * Math.PI;
      const density = Math.sin(theta) ** (d - 2);
      mass += density;
      moment += density * (theta - Math.PI / 2) ** 2;
    }
    expect(randomSpread(d) / ((Math.sqrt(moment / mass) * 180) / Math.PI)).toBeCloseTo(1, 6);
  });

  test("many dimensions: 180/(π√d)", () => {
    expect(randomSpread(1000) / (180 / Math.PI / Math.sqrt(1000))).toBeCloseTo(1, 2);
  });

  test.each([2, 9, 100, 784])("random vectors of %i dimensions have it", (fanIn) => {
    const units = 300;
    const data = randomNormals(`random ${fanIn}`, units * fanIn);
    const { mean, spread } = angleStatistics({ units, fanIn, groups: 1, data });
    expect(mean).toBeCloseTo(90, 0);
    expect(spread / randomSpread(fanIn)).toBeCloseTo(1, 1);
  });
});

describe("responseAngleStatistics", () => {
  const gramOf = (columns: number[][]) =>
    Float64Array.from(
      columns.flatMap((a) => columns.map((b) => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0))),
    );

  test("agreeing, opposite and uncorrelated responses", () => {
    const [up, down, across] = [
      [1, 1, -1, -1],
      [-1, -1, 1, 1],
      [1, -1, 1, -1],
    ];
    expect(responseAngleStatistics(gramOf([up, up]), 2, 1, 1e-6).mean).toBeCloseTo(0, 4);
    expect(responseAngleStatistics(gramOf([up, down]), 2, 1, 1e-6).mean).toBeCloseTo(180, 4);
    expect(responseAngleStatistics(gramOf([up, across]), 2, 1, 1e-6).mean).toBe(90);
    // Agreeing three times of four: ϑ = 1/2, a quarter of the half circle.
    expect(responseAngleStatistics(gramOf([up, [1, 1, -1, 1]]), 2, 1, 1e-6).mean).toBeCloseTo(45, 4);
  });

  test("dead units and other groups take no part", () => {
    const gram = Float64Array.from([
      ...gramOf([
        [1, 1],
        [0, 0],
      ]),
      ...gramOf([
        [1, 1],
        [1, -1],
      ]),
    ]);
    const { pairs, dead, mean } = responseAngleStatistics(gram, 4, 2, 1e-6);
    expect([pairs, dead, mean]).toEqual([1, 1, 90]);
  });
});
