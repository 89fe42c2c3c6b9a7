import { describe, expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { differentiate } from "../../src/index.ts";
import { meanSquaredError } from "../../src/losses/elementwise.ts";
import { DataType, type DataTypeName } from "../../src/onnx/data-types.ts";
import { Model } from "../../src/onnx/model.ts";
import { float16ToNumber, numberToFloat16 } from "../../src/onnx/small-types.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { som } from "../../src/penalties/som.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

type Precision = "float" | "float16";

/** Numbers that float16 holds exactly, in either type. */
function tensor(name: string, type: Precision, dims: readonly number[], values: ArrayLike<number>): Tensor {
  const bits = Uint16Array.from(values, numberToFloat16);
  return type === "float16"
    ? Tensor.of(name, type, dims, bits)
    : Tensor.float(name, dims, Array.from(bits, float16ToNumber));
}

/** y = f(a), b and c, where a, b, c are made by operators that have no float16 kernel on the CPU. */
type Tail = (b: GraphBuilder, values: Record<"a" | "b" | "c", Value>, type: Precision) => Value;

function modelOf(type: Precision, tail: Tail): Model {
  const builder = new GraphBuilder(18);
  const x = builder.input("x", [2, 3, 8, 8], type);
  const w = builder.graph.addInitializer(tensor("w", type, [4, 3, 3, 3], randomFloats("w", 108)));
  const a = builder.op("Conv", [x, w], "a", { pads: [1, 1, 1, 1] });
  const values = { a, b: builder.op("Neg", [a], "b"), c: builder.op("Mul", [a, a], "c") };
  builder.output(tail(builder, values, type));
  return Model.fromProto(graphToProto(builder.graph, { irVersion: 9 }));
}

/** Gradient of the mean square of the first output by w. */
async function gradientOf(
  type: Precision,
  tail: Tail,
  penalties: Parameters<typeof differentiate>[1]["penalties"] = [],
) {
  const model = modelOf(type, tail);
  const gradient = await differentiate(model, { objective: meanSquaredError(), penalties });
  const labels = gradient.model.proto.graph?.input?.find(({ name }) => name === "labels");
  const dims = (labels?.type?.tensorType?.shape?.dim ?? []).map(({ dimValue }) => Number(dimValue));
  const results = await runModel(gradient.model.bytes, {
    x: tensor("x", type, [2, 3, 8, 8], randomFloats("x", 384)),
    labels: tensor("labels", type, dims, new Float32Array(elementCount(dims))),
  });
  return { gradient: results.w_grad?.numbers() ?? [], loss: results.loss?.numbers()[0] ?? Number.NaN };
}

const windows = { kernel_shape: [2, 2], strides: [2, 2] };
const index = (b: GraphBuilder, dims: readonly number[], values: readonly number[]) =>
  b.graph.addInitializer(Tensor.int64("at", dims, values));
const back = (type: Precision) => DataType[type];

const tails: Record<string, Tail> = {
  "Max of two": (g, { a, c }) => g.op("Max", [a, c], "y"),
  "Max of three": (g, { a, b, c }) => g.op("Max", [a, b, c], "y"),
  "Min of two": (g, { a, c }) => g.op("Min", [a, c], "y"),
  "Min of three": (g, { a, b, c }) => g.op("Min", [a, b, c], "y"),
  "MaxPool, windows that partition": (g, { c }) => g.op("MaxPool", [c], "y", windows),
  "MaxPool, windows that overlap": (g, { c }) =>
    g.op("MaxPool", [c], "y", { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
  "MaxPool behind Casts": (g, { a }, type) => {
    const wide = g.op("Cast", [a], "wide", { to: DataType.float });
    const low = g.graph.addInitializer(Tensor.float("low", [], [-0.4]));
    const narrow = g.op("Cast", [g.op("Max", [wide, low], "above")], "narrow", { to: back(type) });
    return g.op("MaxPool", [narrow], "y", windows);
  },
  GlobalMaxPool: (g, { c }) => g.op("GlobalMaxPool", [c], "y"),
  ReduceMax: (g, { c }) => g.op("ReduceMax", [c, g.int64("axes", [2, 3])], "y"),
  ReduceMin: (g, { a }) => g.op("ReduceMin", [a, g.int64("axes", [1])], "y", { keepdims: 0 }),
  TopK: (g, { c }) => g.many("TopK", [c, g.int64("k", [3])], ["y", "at"])[0] as Value,
  Clip: (g, { a }, type) => {
    const high = g.graph.addInitializer(tensor("high", type, [], [0.3]));
    return g.op("Clip", [a, null, high], "y");
  },
  "ScatterElements, max": (g, { a, c }) =>
    g.op(
      "ScatterElements",
      [
        a,
        index(
          g,
          [2, 4, 8, 8],
          new Array(512).fill(0).map((_, i) => (i * 7) % 8),
        ),
        c,
      ],
      "y",
      { axis: 3, reduction: "max" },
    ),
  Gather: (g, { c }) => g.op("Gather", [c, index(g, [5], [0, 2, 2, 1, 3])], "y", { axis: 1 }),
  GatherElements: (g, { c }) =>
    g.op("GatherElements", [c, index(g, [2, 4, 8, 1], new Array(64).fill(3))], "y", { axis: 3 }),
};

describe("gradients of float16 graphs are those of the same numbers in float32", () => {
  test.each(Object.entries(tails))("%s", async (_, tail) => {
    const [half, single] = [await gradientOf("float16", tail), await gradientOf("float", tail)];
    const size = Math.hypot(...single.gradient);
    expect(size).toBeGreaterThan(1e-3);
    expect(half.gradient).toHaveLength(single.gradient.length);
    const difference = Math.hypot(
      ...single.gradient.map((value, i) => value - (half.gradient[i] ?? Number.NaN)),
    );
    expect(difference / size).toBeLessThan(0.01);
  });

  test("with a penalty: the loss is float32, the penalty's part too", async () => {
    const tail: Tail = (_, { a }) => a;
    const penalties = [{ penalty: som() }];
    const [half, single] = [
      await gradientOf("float16", tail, penalties),
      await gradientOf("float", tail, penalties),
    ];
    expect(Math.abs(half.loss / single.loss - 1)).toBeLessThan(0.01);
    const difference = Math.hypot(
      ...single.gradient.map((value, i) => value - (half.gradient[i] ?? Number.NaN)),
    );
    expect(difference / Math.hypot(...single.gradient)).toBeLessThan(0.03);
  });

  test("a loss of the model's own in float16, with a penalty", async () => {
    const builder = new GraphBuilder(18);
    const w = builder.graph.addInitializer(tensor("w", "float16", [6, 8], randomFloats("w", 48)));
    const y = builder.op("MatMul", [builder.input("x", [4, 6], "float16"), w], "y");
    builder.output(builder.op("ReduceMean", [builder.op("Mul", [y, y], "q")], "own", { keepdims: 0 }));
    const model = Model.fromProto(graphToProto(builder.graph, { irVersion: 9 }));
    const gradient = await differentiate(model, { loss: "own", penalties: [{ penalty: som() }] });
    const x = tensor("x", "float16", [4, 6], randomFloats("x", 24));
    const results = await runModel(gradient.model.bytes, { x });
    expect(results.loss?.numbers().every(Number.isFinite)).toBe(true);
    expect(results.w_grad?.type).toBe("float16" satisfies DataTypeName);
  });
});
