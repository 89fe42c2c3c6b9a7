import { describe, expect, test } from "vitest";
import { arrayDataset } from "../../src/data/array-dataset.ts";
import {
  evaluationBatches,
  shuffledIndices,
  splitValidation,
  stepsPerEpoch,
} from "../../src/data/batches.ts";
import type { Dataset } from "../../src/data/dataset.ts";

const numbered = (count: number) =>
  arrayDataset(
    Float32Array.from({ length: count }, (_, i) => i),
    new Uint8Array(count),
    [1],
    { name: "d" },
  );

/** The x of all samples of a dataset of numbers. */
function allOf(dataset: Dataset): number[] {
  const x = new Float32Array(dataset.size);
  dataset.fill(
    Uint32Array.from({ length: dataset.size }, (_, i) => i),
    x,
    new Int32Array(dataset.size),
  );
  return [...x];
}

describe("shuffledIndices", () => {
  test("is a permutation, the same for the same seed and epoch", () => {
    const order = shuffledIndices(7, 3, 1000);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(shuffledIndices(7, 3, 1000)).toEqual(order);
  });

  test("gives these orders on every machine", () => {
    expect([...shuffledIndices(0, 0, 8)]).toEqual([0, 1, 2, 5, 6, 3, 4, 7]);
    expect([...shuffledIndices(1, 2, 8)]).toEqual([5, 7, 4, 1, 6, 3, 2, 0]);
  });

  test("differs between seeds and epochs as random orders do", () => {
    const orders = [
      ...[0, 1, 2, 3].map((epoch) => shuffledIndices(5, epoch, 2000)),
      ...[0, 1, -1].map((seed) => shuffledIndices(seed, 0, 2000)),
    ];
    for (const [i, a] of orders.entries()) {
      for (const b of orders.slice(0, i)) {
        // Two random permutations agree in one place on average; ten or more happen once in 10⁷.
        expect(a.filter((value, at) => value === b[at]).length).toBeLessThan(10);
      }
    }
  });

  test("puts every sample everywhere equally often", () => {
    const counts = new Array<number>(36).fill(0);
    const rounds = 6000;
    for (let epoch = 0; epoch < 6; epoch++) {
      for (let seed = 0; seed < rounds / 6; seed++) {
        shuffledIndices(seed, epoch, 6).forEach((value, at) => {
          counts[6 * at + value] = (counts[6 * at + value] ?? 0) + 1;
        });
      }
    }
    const expected = rounds / 6;
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 25 degrees of freedom: the 99.9 % point is 52.6.
    expect(chiSquare).toBeLessThan(52.6);
  });
});

describe("evaluationBatches", () => {
  test("counts every sample once and fills the last batch up", () => {
    const batches = [...evaluationBatches(numbered(6), 4)];
    expect(batches.map(({ indices, count }) => [[...indices], count])).toEqual([
      [[0, 1, 2, 3], 4],
      [[4, 5, 5, 5], 2],
    ]);
  });

  test("an exact multiple has no partial batch", () => {
    expect([...evaluationBatches(numbered(8), 4)].map(({ count }) => count)).toEqual([4, 4]);
  });
});

describe("splitValidation", () => {
  test("parts the samples, the same for the same seed", () => {
    const { train, validation } = splitValidation(numbered(50), 0.2, 3);
    expect([train.size, validation.size]).toEqual([40, 10]);
    expect([...allOf(train), ...allOf(validation)].sort((a, b) => a - b)).toEqual(allOf(numbered(50)));
    expect(allOf(splitValidation(numbered(50), 0.2, 3).validation)).toEqual(allOf(validation));
    expect(allOf(splitValidation(numbered(50), 0.2, 4).validation)).not.toEqual(allOf(validation));
  });

  test("leaves a sample on each side", () => {
    expect(splitValidation(numbered(2), 0.01, 0).validation.size).toBe(1);
    expect(splitValidation(numbered(2), 0.99, 0).train.size).toBe(1);
    // The nearest whole number in between.
    expect([0.14, 0.16].map((share) => splitValidation(numbered(10), share, 0).validation.size)).toEqual([
      1, 2,
    ]);
  });

  test.each([0, 1, -0.5, Number.NaN])("refuses the fraction %d", (fraction) => {
    expect(() => splitValidation(numbered(9), fraction, 0)).toThrow("it must lie between 0 and 1");
  });
});

test("steps of an epoch are whole batches; a batch larger than the data is refused", () => {
  expect(stepsPerEpoch(numbered(11), 4)).toBe(2);
  expect(() => stepsPerEpoch(numbered(3), 4)).toThrow(
    "d: a batch of 4 is larger than the 3 training samples; choose a smaller batch",
  );
});
