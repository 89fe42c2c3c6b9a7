import { describe, expect, test } from "vitest";
import { Tensor } from "../../src/onnx/tensor.ts";
import { epsilon, type SomOptions } from "../../src/penalties/som-options.ts";
import { uniform } from "../helpers/lcg.ts";
import { fixture, type Summary, summaryError } from "../oracles/references.ts";
import { referenceSom, runSom } from "./som-case.ts";

interface TorchSom {
  readonly layer: string;
  readonly shape: readonly number[];
  readonly unitAxis: number;
  readonly groups: number;
  readonly options: SomOptions;
  readonly value: number;
  readonly gradient: Summary;
}

const { penalties, epsilon: torchEpsilon } = fixture<{ epsilon: number; penalties: readonly TorchSom[] }>(
  "penalties.json",
);

test("PyTorch adds the same ε", () => expect(torchEpsilon).toBe(epsilon));

// PyTorch's autograd in float64, on the formula with normalised responses.
describe.each(penalties)("$layer $options", ({ layer, value, gradient, ...of }) => {
  const name = `som.${layer}`;
  const data = uniform(
    name,
    of.shape.reduce((product, dim) => product * dim, 1),
    0.3,
  );
  const check = (actual: { value: number; gradient: readonly number[] }, tolerance: number): void => {
    expect(Math.abs(actual.value / value - 1)).toBeLessThan(tolerance);
    expect(summaryError(name, actual.gradient, gradient)).toBeLessThan(tolerance);
  };

  test("the reference", () => check(referenceSom(of, of.shape, data), 1e-12));

  for (const rowsFixed of [true, false]) {
    const form = rowsFixed ? "fixed rows" : "free rows";
    test(`float64, ${form}`, async () => {
      const y = Tensor.of("y", "double", of.shape, Float64Array.from(data));
      check(await runSom({ ...of, rowsFixed, type: "double" }, y), 1e-12);
    });
    test(`float32, ${form}`, async () => {
      check(await runSom({ ...of, rowsFixed }, Tensor.of("y", "float", of.shape, data)), 1e-5);
    });
  }
});
