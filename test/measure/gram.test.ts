import { describe, expect, test } from "vitest";
import type { Probe } from "../../src/analysis/probe.ts";
import { readModel } from "../../src/index.ts";
import { gramBlocks, smallerGram } from "../../src/measure/gram.ts";
import { weightAngles } from "../../src/measure/weight-angles.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { randomNormals } from "../helpers/numbers.ts";

/** ONNX Runtime as browsers have it: without float64. */
const plainProbe = { ...nodeProbe, float64: false };

describe("Gram matrices without float64 in ONNX Runtime", () => {
  for (const groups of [1, 3]) {
    const matrix = { units: 7 * groups, fanIn: 5, groups, data: randomNormals("gram", 7 * groups * 5) };
    test(`are those with it, ${groups} groups`, async () => {
      for (const turned of [matrix, { ...matrix, units: 5 * groups, fanIn: 7 }]) {
        const [with64, without] = [
          await smallerGram(turned, nodeProbe),
          await smallerGram(turned, plainProbe),
        ];
        expect(without.side).toBe(5);
        with64.data.forEach((product, i) => {
          expect(without.data[i]).toBeCloseTo(product, 12);
        });
        const expected = gramBlocks(turned, nodeProbe);
        for await (const block of gramBlocks(turned, plainProbe)) {
          const { value } = await expected.next();
          expect(block.products.length).toBe(value?.products.length);
          block.products.forEach((product, i) => {
            expect(product).toBeCloseTo(value?.products[i] ?? Number.NaN, 12);
          });
        }
      }
    });
  }

  test("give the angles of the sample models", async () => {
    for (const name of ["mlp", "cnn"]) {
      const model = await readModel(`models/${name}.onnx`);
      const [with64, without] = [
        await weightAngles(model, {}, nodeProbe),
        await weightAngles(model, {}, plainProbe),
      ];
      for (const [index, { mean, spread, coherence }] of with64.layers.entries()) {
        const layer = without.layers[index];
        expect([layer?.mean, layer?.spread, layer?.coherence]).toEqual([
          expect.closeTo(mean, 8),
          expect.closeTo(spread, 8),
          expect.closeTo(coherence, 8),
        ]);
      }
    }
  });
});

test("the pairs and the singular values of a layer are read from one product", async () => {
  const products = async (units: number, fanIn: number) => {
    let runs = 0;
    const counting: Probe = {
      ...nodeProbe,
      run(...args) {
        runs += 1;
        return nodeProbe.run(...args);
      },
    };
    const matrix = { units, fanIn, groups: 1, data: randomNormals("shared", units * fanIn) };
    await smallerGram(matrix, counting);
    const unit = (i: number) => matrix.data.subarray(i * fanIn, (i + 1) * fanIn);
    for await (const block of gramBlocks(matrix, counting)) {
      for (let r = 0; r < block.rows; r++) {
        const other = unit(block.column);
        const sum = unit(block.row + r).reduce((total, value, k) => total + value * (other[k] ?? 0), 0);
        expect(block.products[r * block.columns]).toBeCloseTo(sum, 10);
      }
    }
    return runs;
  };
  expect(await products(40, 60)).toBe(1);
  // XᵀX of the numbers is another one.
  expect(await products(60, 40)).toBe(2);
});
