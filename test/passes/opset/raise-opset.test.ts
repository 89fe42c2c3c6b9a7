import { describe, expect, test } from "vitest";
import { inferShapes } from "../../../src/analysis/infer.ts";
import { checkGraph } from "../../../src/graph/check.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import type { Value } from "../../../src/graph/node.ts";
import { printNode } from "../../../src/graph/print.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { encodeModelProto } from "../../../src/onnx/codec.ts";
import { onnx } from "../../../src/onnx/schema.js";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import { raiseOpset } from "../../../src/passes/opset/raise-opset.ts";
import { runGraphPass } from "../../../src/passes/pass.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { maxDifference, randomFloats } from "../../helpers/numbers.ts";
import { plain } from "../../helpers/plain-tensors.ts";
import { runModel } from "../../helpers/run-model.ts";
import { adapterCases, type Build, type RaiseCase, scales, statistics } from "./adapter-cases.ts";
import { keptForms } from "./kept-forms.ts";

async function built(opset: number, shape: readonly number[], build: Build, inferred = true): Promise<Graph> {
  const b = new GraphBuilder(opset);
  b.output(...[build(b, b.input("x", shape))].flat());
  if (inferred) await inferShapes(b.graph, nodeProbe);
  return b.graph;
}

/** Runs a case before and after raising: types, shapes and numbers stay. */
async function raisedComputesTheSame(one: RaiseCase): Promise<void> {
  const { name, opset, shape, build, inferred, becomes, tolerance = 0 } = one;
  const graph = await built(opset, shape, build, inferred);
  const feeds = { x: Tensor.float("x", shape, randomFloats(name, elementCount(shape))) };
  const before = plain(await runModel(graph, feeds, { optimize: false }));
  const ops = graph.nodes.map(({ opType }) => opType);
  runGraphPass(raiseOpset(), graph);
  checkGraph(graph);
  expect(graph.opset).toBe(18);
  expect(graph.sorted().map(({ opType }) => opType)).toEqual(becomes ?? ops);
  const after = plain(await runModel(graph, feeds, { optimize: false }));
  if (tolerance === 0) {
    expect(after).toEqual(before);
    return;
  }
  for (const [output, { numbers, dims }] of Object.entries(before)) {
    expect(after[output]?.dims).toEqual(dims);
    expect(maxDifference(after[output]?.numbers ?? [], numbers)).toBeLessThanOrEqual(tolerance);
  }
}

describe("the raised graph computes the same", () => {
  test.each(adapterCases)("$name (opset $opset)", raisedComputesTheSame);
});

test("GridSample and DFT compute the same in opset 21", async () => {
  const b = new GraphBuilder(18);
  const x = b.input("x", [1, 2, 4, 4]);
  const grid = b.weight("grid", [1, 3, 3, 2]);
  const signal = b.op("Reshape", [x, b.int64("signal", [2, 4, 4, 1])], "s");
  b.output(
    ...[{}, { mode: "bicubic" }, { mode: "nearest" }].map((mode, i) =>
      b.op("GridSample", [x, grid], `g${i}`, mode),
    ),
    ...[{}, { axis: 2 }].map((axis, i) => b.op("DFT", [signal], `d${i}`, axis)),
  );
  const feeds = { x: Tensor.float("x", [1, 2, 4, 4], randomFloats("x", 32)) };
  const before = plain(await runModel(b.graph, feeds, { optimize: false }));
  runGraphPass(raiseOpset({ target: 21 }), b.graph);
  expect(b.graph.opset).toBe(21);
  expect(plain(await runModel(b.graph, feeds, { optimize: false }))).toEqual(before);
});

describe("a node whose form stayed computes the same", () => {
  test.each(keptForms)("$name (opset $opset)", raisedComputesTheSame);
});

describe("training form", () => {
  test("of BatchNormalization before opset 14: its statistics are outputs 1 and 2", async () => {
    const b = new GraphBuilder(9);
    const names = ["y", "mean.next", "variance.next", "saved.mean", "saved.variance"];
    const outputs = b.many("BatchNormalization", [b.input("x", [2, 3, 4]), ...statistics(b)], names);
    b.output(...(outputs.slice(0, 3) as Value[]));
    runGraphPass(raiseOpset(), b.graph);
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
    runGraphPass(raiseOpset(), graph);
    await inferShapes(graph, nodeProbe);
    expect(graph.valueNamed("y").producer?.inputs[1]?.type).toBe("float16");
  });
});

describe("refused by name", () => {
  const refused = async (opset: number, shape: readonly number[], build: Build): Promise<string> => {
    const b = new GraphBuilder(opset);
    b.output(...[build(b, b.input("x", shape))].flat());
    try {
      runGraphPass(raiseOpset(), b.graph);
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
      "its coordinates (tf_half_pixel_for_nn) are gone since opset 13",
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
    ["it has no scales", 10, (b, x) => b.op("Resize", [x], "y")],
    [
      "its mask is read",
      9,
      (b, x) => {
        const inner = { opType: "Dropout", input: ["x"], output: ["d", "m"] };
        const value = new onnx.GraphProto({ node: [inner], output: [{ name: "m" }] });
        return b.graph.addNode({
          ...{ opType: "If", inputs: [x], outputs: ["y"], captures: [x] },
          attributes: new Map([["then_branch", { kind: "graph" as const, value }]]),
        }).outputs[0] as Value;
      },
    ],
    ["its form before opset 9 has a batch axis", 8, (b, x) => b.op("Scan", [x], "y")],
  ])("%s", async (reason, opset, build) => {
    const message = await refused(opset, [2, 3], build);
    expect(message).toContain(`cannot be raised from opset ${opset} to 18: ${reason}`);
    expect(message).toMatch(/; export the model with opset 18$/);
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
    runGraphPass(raiseOpset(), b.graph);
    expect(encodeModelProto(graphToProto(b.graph))).toEqual(before);
  });

  test("operators of other domains, and bodies in which nothing changed", () => {
    const b = new GraphBuilder(13, { "com.microsoft": 1 });
    const inner = { opType: "Relu", input: ["x"], output: ["s"] };
    const branch = { kind: "graph", value: new onnx.GraphProto({ node: [inner] }) } as const;
    const x = b.input("x", [2, 3]);
    b.output(b.op("ReduceMean", [x], "z", { axes: [1] }, "com.microsoft"));
    b.output(b.op("If", [x], "y", { then_branch: branch }));
    runGraphPass(raiseOpset(), b.graph);
    expect(b.graph.opset).toBe(18);
    expect(b.graph.nodes[0]?.ints("axes")).toEqual([1]);
  });

  test("a graph of other domains alone gets the opset that gradients are written in", () => {
    const b = new GraphBuilder(13, { "com.microsoft": 1 });
    b.graph.opsets.delete("");
    b.output(b.op("Gelu", [b.input("x", [2])], "y", {}, "com.microsoft"));
    runGraphPass(raiseOpset(), b.graph);
    expect(b.graph.opset).toBe(18);
  });
});
