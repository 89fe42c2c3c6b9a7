import { describe, expect, test } from "vitest";
import { arrayDataset } from "../../src/data/array-dataset.ts";
import { digitPoints } from "../../src/data/digit-points.ts";
import { loadMnist } from "../../src/data/mnist-node.ts";

const fill = (data: ReturnType<typeof digitPoints>, indices: number[]) => {
  const x = new Float64Array(indices.length * (data.x.shape[0] ?? 0) * (data.x.shape[1] ?? 0));
  const y = new Int32Array(indices.length);
  data.fill(indices, x, y);
  return { x, y };
};

describe("digitPoints", () => {
  test("points lie within inked pixels, drawn in proportion to their ink", () => {
    // A 2×3 image: ink 0 1 0 / 0 0 3 above its darkest pixel, which is −1.
    const image = Float32Array.of(-1, 0, -1, -1, -1, 2);
    const points = 4000;
    const { x, y } = fill(digitPoints(arrayDataset(image, Int32Array.of(7), [1, 2, 3]), { points }), [0]);
    expect([...y]).toEqual([7]);
    let strong = 0;
    for (let i = 0; i < points; i++) {
      const [right, up, ink] = [x[i] ?? 0, x[points + i] ?? 0, x[2 * points + i] ?? 0];
      // The image spans −1 … 1 to the right and −2/3 … 2/3 upwards.
      const column = Math.floor(((right + 1) / 2) * 3);
      const row = Math.floor(((2 / 3 - up) / (4 / 3)) * 2);
      if (row === 1 && column === 2) {
        strong++;
        expect(ink).toBe(1);
      } else {
        expect([row, column]).toEqual([0, 1]);
        expect(ink).toBeCloseTo(1 / 3, 12);
      }
    }
    // Three quarters of the ink; four standard errors.
    expect(Math.abs(strong / points - 0.75)).toBeLessThan(4 * Math.sqrt(0.1875 / points));
  });

  test("an image of one colour is covered evenly, and has no height", () => {
    const { x } = fill(digitPoints(arrayDataset(new Float32Array(9).fill(5), Int32Array.of(0), [3, 3])), [0]);
    expect([...x.subarray(256)].every((z) => z === 0)).toBe(true);
    for (const axis of [x.subarray(0, 128), x.subarray(128, 256)]) {
      const mean = axis.reduce((sum, v) => sum + v, 0) / 128;
      expect(Math.abs(mean)).toBeLessThan(4 * Math.sqrt(1 / 3 / 128));
    }
  });

  test("MNIST: the same points in every order, others for another seed", async () => {
    const { train } = await loadMnist();
    const data = digitPoints(train);
    expect([data.size, data.x, data.y.classes]).toEqual([60_000, { type: "float", shape: [3, 128] }, 10]);
    const [both, second] = [fill(data, [5, 9]), fill(data, [9])];
    expect([...both.x.subarray(384)]).toEqual([...second.x]);
    expect([...both.y]).toEqual([2, 4]);
    expect([...fill(digitPoints(train, { seed: 1 }), [9]).x]).not.toEqual([...second.x]);
    expect(both.x.every((v) => v >= -1 && v <= 1)).toBe(true);
  });

  test("other samples and arrays are refused", () => {
    const colours = arrayDataset(new Float32Array(12), Int32Array.of(0), [3, 2, 2]);
    expect(() => digitPoints(colours)).toThrow("samples of shape [3, 2, 2] are not grey images");
    const grey = arrayDataset(new Float32Array(4), Int32Array.of(0), [1, 2, 2]);
    expect(() => digitPoints(grey, { points: 0 })).toThrow("at least 1, not 0");
    expect(() => digitPoints(grey).fill([0], new Float32Array(383), new Int32Array(1))).toThrow(
      "1 samples need 384 elements, the array holds 383",
    );
    expect(() => digitPoints(grey).fill([0], new Int32Array(384), new Int32Array(1))).toThrow("fractions");
  });
});
