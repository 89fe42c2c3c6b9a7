import { describe, expect, test } from "vitest";
import { penaltyNamed } from "../../src/penalties/table.ts";
import { randomNormals, relativeError } from "../helpers/numbers.ts";
import { attributesOf, type LayerCase, runPenalty } from "./layer-case.ts";

/** Float32 against float64 at the sizes of real layers, where sums have millions of terms. */
const limit = 1e-6;

describe("of dense layers", () => {
  const penalties = ["so", "biggan", "lorth", "dso", "mhe", "keras", "decov", "vicreg", "barlow", "som"];
  test.each([64, 256, 512, 2048])("%i units", async (units) => {
    const fanIn = 24;
    // Units more than inputs and few rows: products far from the identity beside a diagonal of larger ones.
    const layer: LayerCase = {
      ...{ response: [32, units], unitAxis: 1, weight: [units, fanIn] },
      attributes: attributesOf.transposed,
    };
    const scaled = (name: string, count: number, scale: number) =>
      randomNormals(`${name} ${units}`, count).map((value) => value * scale);
    const data = {
      weight: scaled("weight", units * fanIn, 0.05),
      response: scaled("response", 32 * units, 0.15),
    };
    for (const name of penalties) {
      const penalty = penaltyNamed(name, name === "keras" ? { mode: "columns" } : {});
      const options = { gradients: units < 2048 };
      const double = await runPenalty(penalty, { ...layer, type: "double" }, data, options);
      const single = await runPenalty(penalty, layer, data, options);
      expect(Math.abs(single.value / double.value - 1), name).toBeLessThan(limit);
      // What rounding errors of single products may make of a gradient.
      for (const of of ["weight", "response"] as const) {
        if (double[of].some((slope) => slope !== 0)) {
          expect(relativeError(single[of], double[of]), name).toBeLessThan(5e-5);
        }
      }
    }
  });
});

describe("of convolutions: ocnn and lorth", () => {
  test.each([64, 256, 512])("%i units", async (units) => {
    const layer: LayerCase = {
      ...{ op: "Conv", response: [1, units, 1, 1], unitAxis: 1, weight: [units, 1, 3, 3] },
      attributes: attributesOf.convolution([1, 1], [1, 1]),
    };
    // Near-orthogonal in length only: the excess is near 1 in few places and small in the others.
    const weight = randomNormals(`kernels ${units}`, units * 9).map((value) => value * 0.02);
    const data = { weight, response: new Float32Array(units) };
    const expected = selfConvolution(weight, units);
    for (const [name, least] of [["ocnn", 0] as const, ["lorth", units - 1] as const]) {
      const { value } = await runPenalty(penaltyNamed(name), layer, data, { gradients: false });
      expect(Math.abs(value - (expected - least)) / expected, name).toBeLessThan(limit);
    }
  });
});

/** Σ over shifts and pairs of (⟨Kᵢ, Kⱼ shifted⟩ − 1 where i = j unshifted)², 3×3 kernels of one channel, in float64. */
function selfConvolution(kernels: Float32Array, units: number): number {
  let sum = 0;
  for (let dy = -2; dy <= 2; dy++) {
    for (let dx = -2; dx <= 2; dx++) {
      const pairs: [number, number][] = [];
      for (let y = 0; y < 3; y++) {
        for (let x = 0; x < 3; x++) {
          const [toY, toX] = [y + dy, x + dx];
          if (toY >= 0 && toY < 3 && toX >= 0 && toX < 3) pairs.push([y * 3 + x, toY * 3 + toX]);
        }
      }
      for (let i = 0; i < units; i++) {
        for (let j = 0; j < units; j++) {
          let product = i === j && dx === 0 && dy === 0 ? -1 : 0;
          for (const [from, to] of pairs)
            product += (kernels[i * 9 + from] as number) * (kernels[j * 9 + to] as number);
          sum += product ** 2;
        }
      }
    }
  }
  return sum;
}
