import { expect, test } from "vitest";
import type { Value } from "../../../src/graph/node.ts";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import { runPass } from "../../../src/passes/pass.ts";
import { writeOutQuantizers } from "../../../src/passes/training/write-out-quantizers.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import { maxDifference, randomFloats } from "../../helpers/numbers.ts";
import { passContext } from "../../helpers/pass-context.ts";
import { runModel } from "../../helpers/run-model.ts";

/** A graph builder with the parts of which quantized models consist. */
class Quantized extends GraphBuilder {
  constructor() {
    super(18, { "com.microsoft": 1 });
  }

  scale = (name: string, ...numbers: number[]): Value =>
    this.graph.addInitializer(Tensor.float(name, numbers.length > 1 ? [numbers.length] : [], numbers));

  zero = (name: string, ...numbers: number[]): Value =>
    this.graph.addInitializer(
      Tensor.of(name, "uint8", numbers.length > 1 ? [numbers.length] : [], Uint8Array.from(numbers)),
    );

  levels = (name: string, dims: readonly number[]): Value =>
    this.graph.addInitializer(
      Tensor.of(
        name,
        "uint8",
        dims,
        Uint8Array.from({ length: elementCount(dims) }, (_, i) => (i * 67 + 31) % 256),
      ),
    );

  /** x as bytes, with its scale and zero point. */
  activation = (dims: readonly number[], name = "x"): [Value, Value, Value] => {
    const [s, z] = [this.scale(`${name}.s`, 0.011), this.zero(`${name}.z`, 120)];
    return [this.op("QuantizeLinear", [this.input(name, dims), s, z], `${name}.q`), s, z];
  };

  /** Scale and zero point of a result. */
  result = (scale: number): [Value, Value] => [this.scale("y.s", scale), this.zero("y.z", 100)];

  contributed = (
    opType: string,
    inputs: readonly (Value | null)[],
    attributes: Readonly<Record<string, number | number[]>> = {},
  ): Value => this.op(opType, inputs, "y", attributes, "com.microsoft");
}

const cases: Readonly<Record<string, (b: Quantized) => Value>> = {
  QuantizeLinear: (b) => b.activation([3, 4])[0],
  "QuantizeLinear with a scale for each channel": (b) => {
    const x = b.input("x", [2, 3, 4]);
    return b.op("QuantizeLinear", [x, b.scale("s", 0.01, 0.02, 0.005), b.zero("z", 9, 120, 200)], "y", {
      axis: 1,
    });
  },
  "DequantizeLinear behind operators on bytes": (b) => {
    const [q, s, z] = b.activation([1, 2, 4, 4]);
    const pooled = b.op("MaxPool", [q], "pooled", { kernel_shape: [2, 2], strides: [2, 2] });
    return b.op("DequantizeLinear", [b.op("Flatten", [pooled], "flat"), s, z], "y");
  },
  DynamicQuantizeLinear: (b) => {
    const [q, s, z] = b.many("DynamicQuantizeLinear", [b.input("x", [3, 4])], ["q", "s", "z"]);
    return b.op("DequantizeLinear", [q as Value, s as Value, z as Value], "y");
  },
  "MatMulInteger with a zero point for each column": (b) => {
    const [q] = b.activation([3, 4]);
    const zeros = [b.zero("az", 120), b.zero("bz", 7, 8, 9, 10, 11)];
    return b.op("Cast", [b.op("MatMulInteger", [q, b.levels("w", [4, 5]), ...zeros], "p")], "y", { to: 1 });
  },
  ConvInteger: (b) => {
    const [q, , z] = b.activation([1, 2, 5, 5]);
    const read = [q, b.levels("w", [3, 2, 3, 3]), z, b.zero("wz", 4)];
    return b.op("Cast", [b.op("ConvInteger", read, "p", { pads: [1, 1, 1, 1], strides: [2, 2] })], "y", {
      to: 1,
    });
  },
  QLinearMatMul: (b) => {
    const weight = [b.levels("w", [4, 2]), b.scale("ws", 0.02, 0.01), b.zero("wz", 130, 125)];
    return b.op("QLinearMatMul", [...b.activation([3, 4]), ...weight, ...b.result(0.05)], "y");
  },
  QLinearConv: (b) => {
    const weight = [b.levels("w", [4, 1, 3, 3]), b.scale("ws", 0.02), b.zero("wz", 128)];
    const bias = b.graph.addInitializer(Tensor.of("b", "int32", [4], Int32Array.of(90, -400, 1000, 5)));
    const attributes = { group: 2, pads: [0, 1, 0, 1] };
    return b.op(
      "QLinearConv",
      [...b.activation([1, 2, 5, 5]), ...weight, ...b.result(0.05), bias],
      "y",
      attributes,
    );
  },
  QGemm: (b) => {
    const weight = [b.levels("w", [5, 4]), b.scale("ws", 0.02), b.zero("wz", 128)];
    const bias = b.graph.addInitializer(Tensor.of("b", "int32", [5], Int32Array.of(90, -400, 1000, 5, 7)));
    return b.contributed("QGemm", [...b.activation([3, 4]), ...weight, bias, ...b.result(0.05)], {
      transB: 1,
    });
  },
  "QGemm that returns floats": (b) => {
    const weight = [b.levels("w", [4, 5]), b.scale("ws", 0.02), b.zero("wz", 128)];
    return b.contributed("QGemm", [...b.activation([3, 4]), ...weight]);
  },
  MatMulIntegerToFloat: (b) => {
    const [q, s, z] = b.activation([3, 4]);
    const read = [
      q,
      b.levels("w", [4, 5]),
      s,
      b.scale("ws", 0.02),
      z,
      b.zero("wz", 128),
      b.weight("bias", [5]),
    ];
    return b.contributed("MatMulIntegerToFloat", read);
  },
  DynamicQuantizeMatMul: (b) => {
    const read = [b.input("x", [3, 4]), b.levels("w", [4, 5]), b.scale("ws", 0.02), b.zero("wz", 128)];
    return b.contributed("DynamicQuantizeMatMul", [...read, b.weight("bias", [5])]);
  },
  QLinearAdd: (b) =>
    b.contributed("QLinearAdd", [...b.activation([3, 4]), ...b.activation([4], "v"), ...b.result(0.02)]),
  QLinearMul: (b) =>
    b.contributed("QLinearMul", [...b.activation([3, 4]), ...b.activation([3, 4], "v"), ...b.result(0.01)]),
  QLinearSigmoid: (b) => b.contributed("QLinearSigmoid", [...b.activation([3, 4]), ...b.result(0.004)]),
  QLinearLeakyRelu: (b) =>
    b.contributed("QLinearLeakyRelu", [...b.activation([3, 4]), ...b.result(0.01)], { alpha: 0.25 }),
  QLinearSoftmax: (b) =>
    b.contributed("QLinearSoftmax", [...b.activation([3, 4]), ...b.result(0.004)], { opset: 13, axis: -1 }),
  QLinearGlobalAveragePool: (b) =>
    b.contributed("QLinearGlobalAveragePool", [...b.activation([2, 3, 4, 4]), ...b.result(0.01)]),
  QLinearAveragePool: (b) =>
    b.contributed("QLinearAveragePool", [...b.activation([2, 3, 4, 4]), ...b.result(0.01)], {
      kernel_shape: [2, 2],
    }),
  QLinearConcat: (b) =>
    b.contributed(
      "QLinearConcat",
      [...b.result(0.01), ...b.activation([3, 4]), ...b.activation([3, 2], "v")],
      { axis: 1 },
    ),
};

test.each(Object.entries(cases))("%s: floats with the numbers that the integers had", async (_, build) => {
  const b = new Quantized();
  const graph = await inferred(b.output(build(b)));
  const feeds = Object.fromEntries(
    graph.inputs.map(({ name, shape = [] }) => [
      name,
      Tensor.float(name, shape, randomFloats(name, elementCount(shape))),
    ]),
  );
  const result = async () => Object.values(await runModel(graph, feeds, { optimize: false }))[0];
  const before = await result();
  await runPass(writeOutQuantizers(), graph, passContext(graph));
  graph.prune();
  for (const output of graph.outputs) output.type = "float";
  const after = await result();
  expect(graph.nodes.map(({ opType }) => opType).filter((op) => /^Q|Integer/.test(op))).toEqual([]);
  expect(after?.dims).toEqual(before?.dims);
  const [is, was] = [after?.numbers() ?? [], before?.numbers() ?? []];
  // Numbers half-way between two levels may be rounded to either; whole numbers are exact.
  const level = before?.type === "float" ? 1e-4 * Math.max(...was.map(Math.abs)) : 1;
  expect(maxDifference(is, was)).toBeLessThanOrEqual(level);
  expect(is.filter((number, i) => Math.abs(number - (was[i] ?? 0)) > 1e-3).length).toBeLessThanOrEqual(
    is.length / 4,
  );
  expect(new Set(was).size).toBeGreaterThan(2);
});
