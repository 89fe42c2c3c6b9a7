import { describe, expect, test } from "vitest";
import { Tensor } from "../../src/onnx/tensor.ts";
import { randomNormals, relativeError } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { referenceSom, type SomCase, somGraph } from "./som-case.ts";

const size = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

/** Responses spread so that tanh(10y) is saturated in part only. */
const responses = (shape: readonly number[]): Float32Array =>
  randomNormals(`som ${shape.join("x")}`, size(shape)).map((value) => value * 0.15);

describe("a layer of 16,400 units with an open batch compares its rows", () => {
  const units = 16400;
  test.each([
    { name: "Gemm", shape: [12, units], free: [0], lambda1: 0, runs: [[20, units]] },
    { name: "MatMul [N, L, k]", shape: [3, 4, units], free: [0, 1], lambda1: 3, runs: [[2, 8, units]] },
  ])("$name: no matrix of all pairs of units, whatever the batch", async ({ shape, free, lambda1, runs }) => {
    const unitAxis = shape.length - 1;
    const c: SomCase = { shape, unitAxis, rowsFixed: false, options: { lambda1, lambda2: 1 } };
    const declared = shape.map((dim, axis) => (free.includes(axis) ? `d${axis}` : dim));
    const graph = somGraph({ ...c, declared });
    expect(Math.max(...[...graph.values].map(({ shape }) => size(shape ?? [])))).toBe(size(shape));
    for (const value of [...graph.inputs, ...graph.outputs]) value.shape = undefined;
    for (const run of [shape, ...runs]) {
      const data = responses(run);
      const outputs = Object.values(await runModel(graph, { y: Tensor.of("y", "float", run, data) }));
      const expected = referenceSom(c, run, data);
      expect(Math.abs((outputs[0]?.numbers()[0] ?? Number.NaN) / expected.value - 1)).toBeLessThan(1e-5);
      expect(outputs[1]?.dims).toEqual(run);
      expect(relativeError(outputs[1]?.numbers() ?? [], expected.gradient)).toBeLessThan(1e-5);
    }
  });
});
