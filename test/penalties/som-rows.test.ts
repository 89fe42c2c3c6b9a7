import { describe, expect, test } from "vitest";
import { chosenPositions } from "../../src/penalties/draws.ts";
import { som } from "../../src/penalties/som.ts";
import { relativeError } from "../helpers/numbers.ts";
import { dataFor } from "./cases.ts";
import { type LayerCase, referenceOf, runPenalty } from "./layer-case.ts";

describe("the positions that maxRows chooses", () => {
  test("are as many as asked for, each taken once, at any number of positions", () => {
    for (let count = 1; count <= 100; count++) {
      for (let most = 1; most <= count; most++) {
        for (const seed of [0, 1, 7]) {
          const chosen = chosenPositions(count, most, seed);
          expect(new Set(chosen).size, `${most} of ${count}`).toBe(most);
          expect(chosen).toEqual([...chosen].sort((a, b) => a - b));
          expect(Math.min(...chosen)).toBeGreaterThanOrEqual(0);
          expect(Math.max(...chosen)).toBeLessThan(count);
        }
      }
    }
  });

  test("lie in stretches of equal length, to a position", () => {
    chosenPositions(196, 30, 3).forEach((position, i) => {
      expect(position).toBeGreaterThanOrEqual(Math.floor((i * 196) / 30));
      expect(position).toBeLessThan(Math.floor(((i + 1) * 196) / 30));
    });
  });
});

describe("som of a subset of the positions, which divides them or not", () => {
  const layers: Readonly<Record<string, LayerCase>> = {
    Conv: { op: "Conv", response: [3, 5, 7, 3], unitAxis: 1, weight: [5, 2, 1, 1] },
    "MatMul [N, L, k]": { op: "MatMul", response: [3, 17, 5], unitAxis: 2, weight: [2, 5] },
  };
  for (const [name, layer] of Object.entries(layers)) {
    test.each([3, 5, 7, 8, 11, 13, 16])(`${name}: maxRows=%i`, async (maxRows) => {
      const penalty = som({ maxRows, gamma: 4, lambda1: 3 });
      const data = dataFor(name, layer);
      const expected = referenceOf(penalty, layer, data);
      for (const rowsFixed of [true, false]) {
        const actual = await runPenalty(penalty, { ...layer, rowsFixed }, data);
        expect(Math.abs(actual.value / expected.value - 1)).toBeLessThan(1e-6);
        expect(relativeError(actual.response, expected.response)).toBeLessThan(1e-5);
      }
    });
  }
});

describe("centred responses of a unit with zero weights and a bias", () => {
  for (const options of [{ center: true, scale: "rms" }, { center: true }] as const) {
    test.each([0, 0.1, 0.7, 3, 100, 1e4])(
      `${JSON.stringify(options)}: have no gradient, bias %d`,
      async (bias) => {
        const layer: LayerCase = { op: "Conv", response: [5, 3, 30, 31], unitAxis: 1, weight: [3, 2, 1, 1] };
        const data = dataFor(`bias ${bias}`, layer);
        const response = Float32Array.from(data.response, (y, i) =>
          Math.floor(i / 930) % 3 === 1 ? bias : y,
        );
        const penalty = som({ ...options, gamma: 2 });
        const expected = referenceOf(penalty, layer, { ...data, response });
        const actual = await runPenalty(penalty, layer, { ...data, response });
        expect(Math.abs(actual.value - expected.value)).toBeLessThan(1e-5 * Math.max(expected.value, 1e-2));
        expect(relativeError(actual.response, expected.response)).toBeLessThan(1e-4);
        // In exact arithmetic the unit's centred responses are 0, and it counts as dead.
        const own = (gradient: readonly number[]) => gradient.filter((_, i) => Math.floor(i / 930) % 3 === 1);
        expect(own(expected.response).every((slope) => slope === 0)).toBe(true);
        expect(Math.max(...own(actual.response).map(Math.abs))).toBeLessThan(1e-12);
      },
    );
  }

  test("a unit that varies a little around a large mean keeps its gradient", async () => {
    const layer: LayerCase = { response: [64, 4], unitAxis: 1, weight: [4, 2] };
    const data = dataFor("around a mean", layer);
    const response = Float32Array.from(data.response, (y, i) => (i % 4 === 1 ? 1 + 0.05 * y : y));
    const penalty = som({ center: true, scale: "rms", gamma: 2 });
    const expected = referenceOf(penalty, layer, { ...data, response });
    const actual = await runPenalty(penalty, layer, { ...data, response });
    expect(relativeError(actual.response, expected.response)).toBeLessThan(1e-4);
  });
});
