import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sampleModels } from "../../models/generate.ts";
import { graphFromProto } from "../../src/graph/proto.ts";
import { decodeModelProto } from "../../src/onnx/codec.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

const folder = new URL("../../models/", import.meta.url);
const committed = (name: string) => new Uint8Array(readFileSync(new URL(name, folder)));

describe("the sample models", () => {
  const generated = sampleModels();

  test("are what the generator writes, byte for byte, and nothing else is there", () => {
    const files = readdirSync(folder).filter((name) => !name.endsWith(".ts"));
    expect(files.sort()).toEqual([...generated.keys()].sort());
    for (const [name, bytes] of generated) expect(Buffer.compare(committed(name), bytes), name).toBe(0);
  });

  test("are small", () => {
    const sizes = [...generated.values()].map((bytes) => bytes.length);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(1_500_000);
  });

  test.each([
    ["mlp.onnx", "x", [1, 28, 28]],
    ["cnn.onnx", "x", [1, 28, 28]],
    ["pointnet.onnx", "points", [3, 128]],
  ])("%s runs at any batch size", async (file, input, sample) => {
    const size = sample.reduce((product, dim) => product * dim, 1);
    const data = randomFloats(file, 5 * size);
    const run = async (batch: number) => {
      const feed = Tensor.of(input, "float", [batch, ...sample], data.slice(0, batch * size));
      return (await runModel(committed(file), { [input]: feed })).logits;
    };
    const [one, five] = [await run(1), await run(5)];
    expect(one?.dims).toEqual([1, 10]);
    expect(five?.dims).toEqual([5, 10]);
    const [first, rows] = [one?.numbers() ?? [], five?.numbers() ?? []];
    first.forEach((logit, i) => {
      expect(rows[i]).toBeCloseTo(logit, 5);
    });
    expect(rows.slice(10, 20)).not.toEqual(first);
  });

  test("name their parameters as PyTorch does and start as its layers start", () => {
    const graph = graphFromProto(decodeModelProto(committed("cnn.onnx")));
    expect(graph.inputs.map(({ name, declared }) => [name, declared])).toEqual([["x", ["batch", 1, 28, 28]]]);
    expect(graph.outputs.map(({ name, declared }) => [name, declared])).toEqual([["logits", ["batch", 10]]]);
    const weight = graph.valueNamed("conv2.weight").initializer;
    expect(weight?.dims).toEqual([16, 16, 3, 3]);
    // Uniform in ±1/√144: variance 1/(3·144).
    const values = weight?.numbers() ?? [];
    expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(Math.fround(1 / 12));
    const variance = values.reduce((sum, value) => sum + value * value, 0) / values.length;
    expect(variance * 3 * 144).toBeCloseTo(1, 1);
    expect(graph.valueNamed("bn1.running_var").initializer?.numbers()).toEqual(new Array(16).fill(1));
  });
});
