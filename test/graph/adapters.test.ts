import { describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { raiseOpset } from "../../src/graph/adapters.ts";
import { checkGraph } from "../../src/graph/check.ts";
import type { Graph } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/node.ts";
import { printNode } from "../../src/graph/print.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { onnx } from "../../src/onnx/schema.js";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { plain } from "../helpers/plain-tensors.ts";
import { runModel } from "../helpers/run-model.ts";

type Build = (b: GraphBuilder, x: Value) => Value | readonly Value[];

async function built(opset: number, shape: readonly number[], build: Build): Promise<Graph> {
  const b = new GraphBuilder(opset);
  b.output(...[build(b, b.input("x", shape))].flat());
  await inferShapes(b.graph, nodeProbe);
  return b.graph;
}

const floats = (values: readonly number[]) => ({ kind: "floats", value: values }) as const;

interface Case {
  readonly name: string;
  readonly opset: number;
  readonly shape: readonly number[];
  readonly build: Build;
  /** Operators after raising; left out where they stay. */
  readonly becomes?: readonly string[];
}

const cases: readonly Case[] = [
  ...[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
  ].map((op) => ({
    ...{ name: `${op} over axes`, opset: op === "ReduceSum" ? 12 : 17, shape: [2, 3, 4] },
    build: (b: GraphBuilder, x: Value) => b.op(op, [x], "y", { axes: [0, -1], keepdims: 0 }),
  })),
  {
    ...{ name: "ReduceLogSum over axes", opset: 13, shape: [2, 3] },
    build: (b, x) => b.op("ReduceLogSum", [b.op("Exp", [x], "e")], "y", { axes: [1] }),
  },
  { name: "ReduceMean over all", opset: 11, shape: [2, 3], build: (b, x) => b.op("ReduceMean", [x], "y") },
  {
    ...{ name: "Squeeze and Unsqueeze", opset: 11, shape: [2, 1, 3, 1] },
    build: (b, x) => b.op("Unsqueeze", [b.op("Squeeze", [x], "s", { axes: [1, -1] })], "y", { axes: [0, 2] }),
  },
  { name: "Squeeze of all", opset: 8, shape: [2, 1, 3], build: (b, x) => b.op("Squeeze", [x], "y") },
  ...["Softmax", "LogSoftmax", "Hardmax"].flatMap((op) => [
    {
      ...{ name: `${op} of the last axis`, opset: 12, shape: [3, 4] },
      build: (b: GraphBuilder, x: Value) => b.op(op, [x], "y"),
    },
    {
      ...{ name: `${op} that flattens`, opset: 12, shape: [2, 3, 4, 2] },
      build: (b: GraphBuilder, x: Value) => {
        const y = b.op(op, [x], "y", { axis: 2 });
        return [y, b.op("Neg", [y], "z")];
      },
      becomes: ["Flatten", op, "Shape", "Reshape", "Neg"],
    },
  ]),
  {
    ...{ name: "Split in sizes", opset: 11, shape: [5, 2] },
    build: (b, x) => b.many("Split", [x], ["a", "b"], { axis: 0, split: [2, 3] }) as Value[],
  },
  {
    ...{ name: "Split in equal parts", opset: 13, shape: [6, 2] },
    build: (b, x) => b.many("Split", [x], ["a", "b", "c"], { axis: 0 }) as Value[],
  },
  { name: "Dropout", opset: 11, shape: [3, 4], build: (b, x) => b.op("Dropout", [x], "y", { ratio: 0.25 }) },
  {
    name: "Dropout with an unread mask",
    opset: 7,
    shape: [3],
    build: (b, x) => b.many("Dropout", [x], ["y", "mask"])[0] as Value,
  },
  {
    ...{ name: "Clip on both sides", opset: 10, shape: [20] },
    build: (b, x) => b.op("Clip", [x], "y", { min: -0.25, max: 0.5 }),
  },
  { name: "Clip above", opset: 7, shape: [20], build: (b, x) => b.op("Clip", [x], "y", { max: 0.5 }) },
  {
    ...{ name: "Pad of doubles", opset: 7, shape: [3] },
    build: (b, x) => b.op("Pad", [b.op("Cast", [x], "c", { to: 11 })], "y", { pads: [1, 2], value: 0.1 }),
  },
  {
    ...{ name: "Pad with a number", opset: 10, shape: [2, 3] },
    build: (b, x) => b.op("Pad", [x], "y", { pads: [0, 1, 2, 0], value: 1.5 }),
  },
  {
    ...{ name: "Pad by reflection", opset: 8, shape: [4, 5] },
    build: (b, x) => b.op("Pad", [x], "y", { pads: [1, 2, 0, 1], mode: "reflect" }),
  },
  {
    ...{ name: "Slice of named axes", opset: 9, shape: [4, 5, 6] },
    build: (b, x) => b.op("Slice", [x], "y", { starts: [1, -3], ends: [3, 100], axes: [0, 2] }),
  },
  {
    name: "Slice of the first axes",
    opset: 7,
    shape: [4, 5],
    build: (b, x) => b.op("Slice", [x], "y", { starts: [1], ends: [3] }),
  },
  {
    name: "TopK",
    opset: 9,
    shape: [3, 6],
    build: (b, x) => b.many("TopK", [x], ["v", "i"], { k: 2, axis: 1 }) as Value[],
  },
  {
    ...{ name: "Upsample to the nearest", opset: 7, shape: [1, 2, 3, 4] },
    build: (b, x) => b.op("Upsample", [x], "y", { mode: "nearest", scales: floats([1, 1, 2, 3]) }),
    becomes: ["Resize"],
  },
  {
    ...{ name: "Upsample, linear", opset: 9, shape: [1, 2, 3, 4] },
    build: (b, x) => b.op("Upsample", [x, scales(b, [1, 1, 2, 2])], "y", { mode: "linear" }),
    becomes: ["Resize"],
  },
  {
    ...{ name: "Resize of opset 10, enlarging", opset: 10, shape: [1, 2, 3, 4] },
    build: (b, x) => b.op("Resize", [x, scales(b, [1, 1, 2, 2])], "y"),
  },
  {
    ...{ name: "Resize of opset 10, shrinking", opset: 10, shape: [1, 1, 7, 9] },
    build: (b, x) => b.op("Resize", [x, scales(b, [1, 1, 0.6, 0.4])], "y"),
  },
  {
    ...{ name: "Resize of opset 10, linear", opset: 10, shape: [1, 1, 7, 9] },
    build: (b, x) => b.op("Resize", [x, scales(b, [1, 1, 0.6, 2])], "y", { mode: "linear" }),
  },
  {
    ...{ name: "Resize of opset 11", opset: 11, shape: [1, 1, 3, 4] },
    build: (b, x) =>
      b.op("Resize", [x, scales(b, [], "roi"), scales(b, [1, 1, 2, 2])], "y", { mode: "linear" }),
  },
  {
    ...{ name: "BatchNormalization for inference", opset: 8, shape: [2, 3, 4] },
    build: (b, x) => b.op("BatchNormalization", [x, ...statistics(b)], "y", { epsilon: 0.01 }),
  },
  {
    ...{ name: "Scatter", opset: 9, shape: [3, 3] },
    build: (b, x) => b.op("Scatter", [x, indices(b), b.weight("u", [1, 2])], "y", { axis: 1 }),
    becomes: ["ScatterElements"],
  },
  {
    ...{ name: "RoiAlign", opset: 10, shape: [1, 2, 8, 8] },
    build: (b, x) => {
      const rois = b.graph.addInitializer(Tensor.float("rois", [1, 4], [1, 1.5, 6, 5]));
      return b.op("RoiAlign", [x, rois, b.int64("batch", [0])], "y", { output_height: 2, output_width: 2 });
    },
  },
  {
    ...{ name: "what only took more types", opset: 7, shape: [1, 2, 6, 6] },
    build: (b, x) => {
      const c = b.op("Conv", [x, b.weight("w", [3, 2, 3, 3])], "c", { pads: [1, 1, 1, 1] });
      const p = b.op("MaxPool", [b.op("LeakyRelu", [c], "l")], "p", {
        kernel_shape: [2, 2],
        strides: [2, 2],
      });
      const a = b.op("AveragePool", [p], "a", { kernel_shape: [2, 2] });
      const f = b.op("Flatten", [a], "f");
      return b.op("Gemm", [f, b.weight("v", [12, 3]), b.weight("bias", [3])], "y");
    },
  },
];

const scales = (b: GraphBuilder, values: readonly number[], name = "scales") =>
  b.graph.addInitializer(Tensor.float(name, [values.length], values));
const statistics = (b: GraphBuilder) =>
  ["scale", "bias", "mean", "variance"].map((name) =>
    b.graph.addInitializer(
      Tensor.float(
        name,
        [3],
        [1.5, 2, 0.5].map((v, i) => v + i * name.length * 0.1),
      ),
    ),
  );
const indices = (b: GraphBuilder) => b.graph.addInitializer(Tensor.int64("i", [1, 2], [2, 0]));

describe("the raised graph computes the same", () => {
  test.each(cases)("$name (opset $opset)", async ({ name, opset, shape, build, becomes }) => {
    const graph = await built(opset, shape, build);
    const feeds = { x: Tensor.float("x", shape, randomFloats(name, elementCount(shape))) };
    const before = plain(await runModel(graph, feeds, { optimize: false }));
    const ops = graph.nodes.map(({ opType }) => opType);
    raiseOpset(graph, 18);
    checkGraph(graph);
    expect(graph.opset).toBe(18);
    expect(graph.sorted().map(({ opType }) => opType)).toEqual(becomes ?? ops);
    expect(plain(await runModel(graph, feeds, { optimize: false }))).toEqual(before);
  });
});

describe("training form", () => {
  test("of BatchNormalization before opset 14: its statistics are outputs 1 and 2", async () => {
    const b = new GraphBuilder(9);
    const names = ["y", "mean.next", "variance.next", "saved.mean", "saved.variance"];
    const outputs = b.many("BatchNormalization", [b.input("x", [2, 3, 4]), ...statistics(b)], names);
    b.output(...(outputs.slice(0, 3) as Value[]));
    raiseOpset(b.graph, 18);
    checkGraph(b.graph);
    expect(b.graph.nodes.map(printNode)).toMatchInlineSnapshot(`
      [
        "%y: ?, %mean.next: ?, %variance.next: ? = BatchNormalization(%x, %scale, %bias, %mean, %variance) {training_mode=1}",
      ]
    `);
    const feeds = { x: Tensor.float("x", [2, 3, 4], randomFloats("x", 24)) };
    expect(Object.keys(await runModel(b.graph, feeds))).toEqual(["y", "mean.next", "variance.next"]);
  });

  test("the ratio of Dropout keeps its type", async () => {
    const graph = await built(11, [3], (b, x) =>
      b.op("Dropout", [b.op("Cast", [x], "half", { to: 10 })], "y", { ratio: 0.3 }),
    );
    raiseOpset(graph, 18);
    await inferShapes(graph, nodeProbe);
    expect(graph.valueNamed("y").producer?.inputs[1]?.type).toBe("float16");
  });
});

describe("refused by name", () => {
  const refused = async (opset: number, shape: readonly number[], build: Build): Promise<string> => {
    const b = new GraphBuilder(opset);
    b.output(...[build(b, b.input("x", shape))].flat());
    try {
      raiseOpset(b.graph, 18);
    } catch (error) {
      return String(error);
    }
    return "raised";
  };

  test.each<[string, number, Build]>([
    [
      "it may enlarge one axis and shrink another",
      10,
      (b, x) => b.op("Resize", [x, scales(b, [2, 0.5])], "y"),
    ],
    [
      "it may enlarge one axis and shrink another",
      10,
      (b, x) => b.op("Resize", [x, b.op("Shape", [x], "s")], "y"),
    ],
    [
      "its coordinates (tf_half_pixel_for_nn) are gone",
      11,
      (b, x) => b.op("Resize", [x], "y", { coordinate_transformation_mode: "tf_half_pixel_for_nn" }),
    ],
    ["its mask is read, which became bool", 9, (b, x) => b.many("Dropout", [x], ["y", "m"])[1] as Value],
    [
      "it keeps statistics of every element (spatial=0)",
      7,
      (b, x) => b.op("BatchNormalization", [x, ...statistics(b)], "y", { spatial: 0 }),
    ],
    [
      "its saved statistics are read",
      9,
      (b, x) => b.many("BatchNormalization", [x, ...statistics(b)], ["y", "m", "v", "sm", "sv"])[3] as Value,
    ],
    ["the rank of its input is not known", 11, (b, x) => b.op("Softmax", [b.op("Relu", [x], "r")], "y")],
    ["its form before opset 9 has a batch axis", 8, (b, x) => b.op("Scan", [x], "y")],
  ])("%s", async (reason, opset, build) => {
    const message = await refused(opset, [2, 3], build);
    expect(message).toContain(`cannot be raised from opset ${opset} to 18: ${reason}`);
    expect(message).toMatch(/; export the model with opset 18$/);
  });

  test("an operator that changed inside a body", async () => {
    const message = await refused(12, [2, 3], (b, x) => {
      const inner = { opType: "Squeeze", name: "inner", input: ["x"], output: ["s"] };
      const body = new onnx.GraphProto({ node: [inner] });
      return b.op("If", [x], "y", { then_branch: { kind: "graph", value: body } });
    });
    expect(message).toContain(
      'If node "y" cannot be raised from opset 12 to 18: Squeeze "inner" inside its body',
    );
  });

  test("files older than opset 7", async () => {
    expect(await refused(6, [2], (b, x) => b.op("Relu", [x], "y"))).toContain("opset 6, which is too old");
  });
});

describe("left alone", () => {
  test.each([18, 21])("opset %i", (opset) => {
    const b = new GraphBuilder(opset);
    b.output(b.op("ReduceMean", [b.input("x", [2, 3]), b.int64("axes", [1])], "y"));
    const before = encodeModelProto(graphToProto(b.graph));
    raiseOpset(b.graph, 18);
    expect(encodeModelProto(graphToProto(b.graph))).toEqual(before);
  });

  test("operators of other domains, and bodies in which nothing changed", () => {
    const b = new GraphBuilder(13, { "com.microsoft": 1 });
    const inner = { opType: "Relu", input: ["x"], output: ["s"] };
    const branch = { kind: "graph", value: new onnx.GraphProto({ node: [inner] }) } as const;
    const x = b.input("x", [2, 3]);
    b.output(b.op("ReduceMean", [x], "z", { axes: [1] }, "com.microsoft"));
    b.output(b.op("If", [x], "y", { then_branch: branch }));
    raiseOpset(b.graph, 18);
    expect(b.graph.opset).toBe(18);
    expect(b.graph.nodes[0]?.ints("axes")).toEqual([1]);
  });

  test("a graph of other domains alone gets the opset that gradients are written in", () => {
    const b = new GraphBuilder(13, { "com.microsoft": 1 });
    b.graph.opsets.delete("");
    b.output(b.op("Gelu", [b.input("x", [2])], "y", {}, "com.microsoft"));
    raiseOpset(b.graph, 18);
    expect(b.graph.opset).toBe(18);
  });
});
