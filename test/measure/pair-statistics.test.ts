import { describe, expect, test } from "vitest";
import { randomSpread, welchBound } from "../../src/measure/angle-references.ts";
import { PairCollector, sameDirection } from "../../src/measure/pair-statistics.ts";
import { responseStatistics } from "../../src/measure/response-angles.ts";
import type { UnitMatrix } from "../../src/measure/unit-vectors.ts";
import { unitAngles } from "../../src/measure/weight-angles.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
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

const statisticsOf = async (layer: UnitMatrix) => (await unitAngles(layer, {}, nodeProbe)).statistics;

describe("unitAngles", () => {
  test("the histogram counts every pair in its bin of two degrees", async () => {
    const random = matrix(Array.from({ length: 12 }, (_, i) => [...randomNormals(`histogram ${i}`, 5)]));
    const expected = new Array<number>(90).fill(0);
    for (const angle of bruteForce(random)) {
      const bin = Math.min(89, Math.floor(angle / 2));
      expected[bin] = (expected[bin] ?? 0) + 1;
    }
    expect((await statisticsOf(random)).histogram).toEqual(expected);
    const opposite = (await statisticsOf(matrix([[1], [-1], [1]]))).histogram;
    expect([opposite[0], opposite[89]]).toEqual([1, 2]);
  });

  test.each([2, 3, 4, 5, 6, 7, 8, 15])(
    "percentiles of %i units are those of the sorted angles",
    async (units) => {
      const random = matrix(
        Array.from({ length: units }, (_, i) => [...randomNormals(`percentiles ${units} ${i}`, 5)]),
      );
      const sorted = bruteForce(random).sort((a, b) => a - b);
      for (const [percent, found] of Object.entries((await statisticsOf(random)).percentiles)) {
        const place = ((sorted.length - 1) * Number(percent)) / 100;
        const [low, high] = [Math.floor(place), Math.ceil(place)].map((rank) => sorted[rank] ?? 0) as [
          number,
          number,
        ];
        // Bins of 0.001°.
        expect(Math.abs(found - (low + (high - low) * (place - Math.floor(place)))), percent).toBeLessThan(
          1e-3,
        );
      }
    },
  );

  test("an identity is orthogonal", async () => {
    const identity = Array.from({ length: 9 }, (_, i) => Array.from({ length: 9 }, (_, j) => +(i === j)));
    const { mean, spread, min, max, pairs, dead } = await statisticsOf(matrix(identity));
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
  ])("%s", async (_, rows, expected) => {
    const { mean, min, max } = await statisticsOf(matrix(rows));
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
  ])("%i units of %i numbers in %i groups: as pair by pair", async (units, fanIn, groups) => {
    const data = randomNormals(`angles ${units} ${fanIn}`, units * fanIn);
    data.fill(0, fanIn, 2 * fanIn);
    const layer = { units, fanIn, groups, data };
    const angles = bruteForce(layer);
    const { pairs, mean, spread, min, max, dead } = await statisticsOf(layer);
    expect([pairs, dead]).toEqual([angles.length, 1]);
    if (angles.length === 0) return;
    const average = angles.reduce((sum, angle) => sum + angle, 0) / angles.length;
    const variance = angles.reduce((sum, angle) => sum + (angle - average) ** 2, 0) / angles.length;
    expect(mean).toBeCloseTo(average, 9);
    expect(spread).toBeCloseTo(Math.sqrt(variance), 6);
    expect(min).toBeCloseTo(Math.min(...angles), 9);
    expect(max).toBeCloseTo(Math.max(...angles), 9);
  });

  test("without living pairs there is no angle", async () => {
    const { pairs, mean, min, dead } = await statisticsOf(
      matrix([
        [0, 0],
        [1, 0],
        [0, 0],
      ]),
    );
    expect([pairs, mean, min, dead]).toEqual([0, Number.NaN, Number.NaN, 2]);
  });
});

describe("duplicates", () => {
  test("copies, opposite copies and dead units are counted and named", async () => {
    const rows = Array.from({ length: 8 }, (_, i) => [...randomNormals(`duplicates ${i}`, 6)]);
    const row = (index: number) => rows[index] ?? [];
    rows[3] = row(1).map((value) => 2 * value);
    rows[5] = row(0).map((value) => -0.5 * value);
    rows[6] = [0, 0, 0, 0, 0, 0];
    const found = await statisticsOf(matrix(rows));
    expect(found.duplicates).toEqual({ count: 1, first: [[1, 3]] });
    expect(found.antiparallel).toEqual({ count: 1, first: [[0, 5]] });
    expect(found.deadUnits).toEqual([6]);
    expect(found.coherence).toBeCloseTo(1, 12);
  });

  test("a turn of more than a tenth of a degree is no duplicate", async () => {
    const turned = (degrees: number) => [
      [1, 0],
      [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)],
    ];
    expect((await statisticsOf(matrix(turned(sameDirection * 0.99)))).duplicates.count).toBe(1);
    expect((await statisticsOf(matrix(turned(sameDirection * 1.01)))).duplicates.count).toBe(0);
    expect((await statisticsOf(matrix(turned(180 - sameDirection * 0.99)))).antiparallel.count).toBe(1);
  });

  test("of very many, the first twenty are named", async () => {
    const { duplicates, pairs } = await statisticsOf(matrix(Array.from({ length: 10 }, () => [1, 1])));
    expect([duplicates.count, duplicates.first.length, pairs]).toEqual([45, 20, 45]);
  });
});

describe("the map of cosines", () => {
  const mapOf = (rows: number[][], mapSize: number, groups = 1) =>
    unitAngles(matrix(rows, groups), { mapSize }, nodeProbe).then(({ statistics }) => statistics.cosineMap);

  test("a cell for each pair, none on the diagonal", async () => {
    const map = await mapOf([[1, 0], [0, 1], [1, 1]], 8); // biome-ignore format: a matrix
    const half = Math.SQRT1_2;
    expect([map?.size, map?.unitsPerCell]).toEqual([3, 1]);
    const expected = [null, 0, half, 0, null, half, half, half, null];
    for (const [index, cell] of expected.entries()) {
      if (cell === null) expect(map?.cells[index]).toBeNull();
      else expect(map?.cells[index]).toBeCloseTo(cell, 12);
    }
  });

  test("of many units, a cell shows the largest of its cosines; groups stay apart", async () => {
    const rows = [[1, 0], [0, 1], [1, 1], [0, -1], [2, 0], [0, 3], [0, 0], [1, -1]]; // biome-ignore format: a matrix
    const whole = await mapOf(rows, 4);
    // Units 0 and 1 against 2 and 3: cosines 1/√2, 0, 1/√2, −1.
    expect([whole?.size, whole?.unitsPerCell, whole?.cells[1]]).toEqual([4, 2, -1]);
    expect(whole?.cells[4]).toBe(-1);
    const apart = await mapOf(rows, 4, 2);
    expect([2, 3, 6, 7].map((cell) => apart?.cells[cell])).toEqual([null, null, null, null]);
  });
});

describe("the distribution", () => {
  test("counts every pair in the narrowest bins that there are enough of", async () => {
    for (const [units, fanIn, bins] of [
      [12, 5, 40],
      [40, 2000, 60],
      [3, 2, 10],
    ] as const) {
      // biome-ignore format: cases
      const rows = matrix(Array.from({ length: units }, (_, i) => [...randomNormals(`bins ${i}`, fanIn)]));
      const { distribution, pairs } = (await unitAngles(rows, { bins }, nodeProbe)).statistics;
      if (!distribution) throw new Error("no distribution");
      const { start, width, counts } = distribution;
      expect(counts.length).toBeLessThanOrEqual(bins);
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(pairs);
      const expected = new Array<number>(counts.length).fill(0);
      for (const angle of bruteForce(rows)) {
        const bin = Math.floor((angle - start) / width);
        expected[bin] = (expected[bin] ?? 0) + 1;
      }
      // Fine bins are 0.001° wide: an angle that close to an edge may be counted beside it.
      expect(counts.filter((count, bin) => Math.abs(count - (expected[bin] ?? 0)) > 1)).toEqual([]);
    }
  });
});

describe("blocks", () => {
  test("pairs come from every block, whatever its shape", () => {
    const norms = Float64Array.of(1, 1, 1, 1, 1);
    const cosine = (i: number, j: number) => (i + j) / 10;
    const block = (row: number, column: number, rows: number, columns: number) => ({
      ...{ row, column, rows, columns },
      products: Float64Array.from({ length: rows * columns }, (_, at) =>
        cosine(row + Math.floor(at / columns), column + (at % columns)),
      ),
    });
    const collect = (...blocks: ReturnType<typeof block>[]) => {
      const collector = new PairCollector({ norms, angleOf: (value) => 90 * (1 - value) });
      for (const part of blocks) collector.add(part);
      return collector.statistics([]);
    };
    const whole = collect(block(0, 0, 5, 5));
    const parts = collect(block(0, 0, 3, 3), block(0, 3, 3, 2), block(3, 3, 2, 2));
    expect(whole.pairs).toBe(10);
    expect(parts.mean).toBeCloseTo(whole.mean, 12);
    expect({ ...parts, mean: 0, spread: 0, cosineSpread: 0, meanAbsoluteCosine: 0 }).toEqual({
      ...{ ...whole, mean: 0, spread: 0, cosineSpread: 0, meanAbsoluteCosine: 0 },
    });
  });
});

describe("welchBound", () => {
  test("three directions in the plane, and equality of the regular simplex", () => {
    expect(welchBound(3, 2)).toBeCloseTo(0.5, 12);
    for (const d of [2, 5, 17]) expect(welchBound(d + 1, d)).toBeCloseTo(1 / d, 12);
    expect([welchBound(4, 4), welchBound(1, 3)]).toEqual([0, 0]);
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

  test.each([2, 9, 100, 784])("random vectors of %i dimensions have it", async (fanIn) => {
    const units = 300;
    const data = randomNormals(`random ${fanIn}`, units * fanIn);
    const { mean, spread } = await statisticsOf({ units, fanIn, groups: 1, data });
    expect(mean).toBeCloseTo(90, 0);
    expect(spread / randomSpread(fanIn)).toBeCloseTo(1, 1);
  });
});

describe("responseStatistics", () => {
  const statisticsOf = (gram: Float64Array, units: number, groups: number) =>
    responseStatistics(gram, { units, groups }).statistics;
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
    expect(statisticsOf(gramOf([up, up]), 2, 1).mean).toBeCloseTo(0, 4);
    expect(statisticsOf(gramOf([up, down]), 2, 1).mean).toBeCloseTo(180, 4);
    expect(statisticsOf(gramOf([up, across]), 2, 1).mean).toBe(90);
    // Agreeing three times of four: ϑ = 1/2, a quarter of the half circle.
    expect(statisticsOf(gramOf([up, [1, 1, -1, 1]]), 2, 1).mean).toBeCloseTo(45, 4);
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
    const { pairs, dead, mean } = statisticsOf(gram, 4, 2);
    expect([pairs, dead, mean]).toEqual([1, 1, 90]);
  });
});
