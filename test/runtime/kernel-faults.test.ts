import { expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { DataType, type DataTypeName } from "../../src/onnx/data-types.ts";
import { Model } from "../../src/onnx/model.ts";
import { numberToFloat16 } from "../../src/onnx/small-types.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { maxAbs, maxDifference, randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { stillThere } from "./still-there.ts";

// Faults of ONNX Runtime's kernels on the CPU that docs/runtime-faults.md lists: each is shown with ONNX Runtime alone.
// What sorth-onnx does about one is held by the test that its line names.

const double = (name: string, dims: readonly number[], values: ArrayLike<number>) =>
  Tensor.of(name, "double", dims, Float64Array.from(values));

/** Runs a graph, and returns the numbers of each of its outputs. */
async function run(b: GraphBuilder, outputs: readonly Value[], feeds: readonly Tensor[], irVersion = 10) {
  for (const output of outputs) b.output(output);
  const bytes = Model.fromProto(graphToProto(b.graph, { irVersion })).bytes;
  const results = await runModel(bytes, Object.fromEntries(feeds.map((tensor) => [tensor.name, tensor])));
  return outputs.map(({ name }) => results[name]?.numbers() ?? []);
}

test("MatMulNBits with accuracy_level 4 rounds its activations", async () => {
  const [rows, inputs, units] = [4, 64, 8];
  const x = Tensor.float("x", [rows, inputs], randomFloats("x", rows * inputs));
  const product = async (level: number) => {
    const b = new GraphBuilder(21, { "com.microsoft": 1 });
    const dims = [units, inputs / 32, 16];
    const bytes = Uint8Array.from({ length: elementCount(dims) }, (_, i) => (i * 7919) % 256);
    const weight = b.graph.addInitializer(Tensor.of("w", "uint8", dims, bytes));
    const scales = b.graph.addInitializer(Tensor.float("s", [units * 2], new Float32Array(16).fill(0.1)));
    const sizes = { K: inputs, N: units, bits: 4, block_size: 32, accuracy_level: level };
    const read = [b.input("x", x.dims), weight, scales];
    const y = b.op("MatMulNBits", read, "y", sizes, "com.microsoft");
    return (await run(b, [y], [x]))[0] ?? [];
  };
  const exact = await product(1);
  const error = maxDifference(await product(4), exact) / maxAbs(exact);
  stillThere(error > 1e-4, "exact-products.ts");
});

test("a maximum of float16 equals none of its operands", async () => {
  const b = new GraphBuilder(18);
  const halves = (name: string, dims: readonly number[]) =>
    Tensor.of(
      name,
      "float16",
      dims,
      Uint16Array.from(randomFloats(name, elementCount(dims)), numberToFloat16),
    );
  const x = halves("x", [2, 3, 8, 8]);
  const w = b.graph.addInitializer(halves("w", [4, 3, 3, 3]));
  const a = b.op("Conv", [b.input("x", x.dims, "float16"), w], "a", { pads: [1, 1, 1, 1] });
  const square = b.op("Mul", [a, a], "square");
  // The square is above its negative: the maximum is the square.
  const largest = b.op("Max", [square, b.op("Neg", [square], "negative")], "largest");
  const equal = b.op("Cast", [b.op("Equal", [largest, square], "same")], "equal", { to: DataType.float });
  // The maximum is an output too, so it is rounded, while Equal reads the square before its rounding.
  const wide = b.op("Cast", [largest], "wide", { to: DataType.float });
  const [equals = [], numbers = []] = await run(b, [equal, wide, largest], [x]);
  expect(numbers.filter((number) => number >= 0)).toHaveLength(512);
  stillThere(equals.includes(0), "the float32 that every operator of a float16 graph runs in");
});

test("ReduceSum over a strided axis adds one by one in float32", async () => {
  const [length, width] = [1_000_000, 8];
  const x = Tensor.float("x", [length, width], new Float32Array(length * width).fill(0.1));
  const b = new GraphBuilder(18);
  const [sums = []] = await run(
    b,
    [b.op("ReduceSum", [b.input("x", x.dims), b.int64("axes", [0])], "sum", { keepdims: 0 })],
    [x],
  );
  stillThere(Math.abs((sums[0] ?? 0) / (length * Math.fround(0.1)) - 1) > 1e-5, "reduction stages");
});

test("a scalar factor beside a product of float64 is rounded to float32", async () => {
  const b = new GraphBuilder(18);
  const [x, w] = ["x", "w"].map((name) => double(name, [4, 4], randomFloats(name, 16)));
  const third = b.graph.addInitializer(double("third", [], [1 / 3]));
  const product = b.op("MatMul", [b.input("x", [4, 4], "double"), b.input("w", [4, 4], "double")], "product");
  const [found = []] = await run(b, [b.op("Mul", [product, third], "y")], [x as Tensor, w as Tensor]);
  const exact = Array.from({ length: 16 }, (_, i) =>
    [0, 1, 2, 3].reduce((sum, k) => {
      const [left, right] = [x?.numbers()[(i >> 2) * 4 + k], w?.numbers()[k * 4 + (i % 4)]];
      return sum + ((left ?? 0) * (right ?? 0)) / 3;
    }, 0),
  );
  const error = maxDifference(found, exact) / maxAbs(exact);
  expect(error).toBeLessThan(1e-7);
  stillThere(error > 1e-10, "the rule that no constant scalar stands beside a MatMul");
});

test("statistics of a LayerNormalization of float64 are rounded to float32", async () => {
  const x = double(
    "x",
    [2, 8],
    Array.from({ length: 16 }, (_, i) => Math.sin(i)),
  );
  const b = new GraphBuilder(17);
  const one = b.graph.addInitializer(double("one", [8], new Float64Array(8).fill(1)));
  const [, mean] = b.many("LayerNormalization", [b.input("x", x.dims, "double"), one], ["y", "mean", "root"]);
  const wide = b.op("Cast", [mean as Value], "wide", { to: DataType.double });
  const [found = []] = await run(b, [wide], [x]);
  const exact = [0, 8].map((at) =>
    x
      .numbers()
      .slice(at, at + 8)
      .reduce((sum, value) => sum + value / 8, 0),
  );
  const error = maxDifference(found, exact) / maxAbs(exact);
  expect(error).toBeLessThan(1e-6);
  stillThere(error > 1e-10, "the statistics that the rule of LayerNormalization computes again");
});

test("Attention of float64 gives NaN for a query that sees no key", async () => {
  const attention = async (type: DataTypeName) => {
    const b = new GraphBuilder(23);
    const input = (name: string, values: readonly number[]) => ({
      value: b.input(name, [1, 1, 2, 1], type),
      tensor:
        type === "double" ? double(name, [1, 1, 2, 1], values) : Tensor.float(name, [1, 1, 2, 1], values),
    });
    const inputs = [input("q", [0, 0]), input("k", [2, 4]), input("v", [1, 3])];
    const mask = Tensor.of("mask", "bool", [2, 2], Uint8Array.from([1, 1, 0, 0]));
    const y = b.op("Attention", [...inputs.map(({ value }) => value), b.input("mask", [2, 2], "bool")], "y");
    return (await run(b, [y], [...inputs.map(({ tensor }) => tensor), mask], 11))[0] ?? [];
  };
  expect((await attention("float")).map(Number.isNaN)).toEqual([false, false]);
  const [first, second] = await attention("double");
  expect(first).toBe(2);
  stillThere(Number.isNaN(second), "nothing");
});

test("the training form of BatchNormalization keeps the biased running variance", async () => {
  const x = Tensor.float("x", [4, 1], [1, 2, 3, 6]);
  const b = new GraphBuilder(15);
  const vector = (name: string, value: number) => b.graph.addInitializer(Tensor.float(name, [1], [value]));
  const inputs = [
    b.input("x", x.dims),
    vector("scale", 2),
    vector("bias", 3),
    vector("mean", 0),
    vector("variance", 1),
  ];
  const [, , variance] = b.many("BatchNormalization", inputs, ["y", "m", "v"], {
    training_mode: 1,
    momentum: { kind: "float", value: 0 },
  });
  const [found = []] = await run(b, [variance as Value], [x]);
  // Deviations −2, −1, 0, 3: their squares have the mean 14 / 4; PyTorch keeps 14 / 3.
  expect(found[0]).toBeCloseTo(14 / 4, 6);
});
