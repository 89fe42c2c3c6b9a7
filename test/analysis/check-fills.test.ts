import Long from "long";
import { describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import type { Value } from "../../src/graph/node.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

// A graph whose node makes a tensor of a few constants. ONNX Runtime computes it while it opens the model.

type Build = (b: GraphBuilder, size: number, data: Value) => Value;

const floats = (b: GraphBuilder, name: string, values: readonly number[]) =>
  b.graph.addInitializer(Tensor.float(name, [values.length], values));
const scalar = (b: GraphBuilder, name: string, value: number) =>
  b.graph.addInitializer(Tensor.int64(name, [], [value]));

const fills: Record<string, Build> = {
  Expand: (b, size, data) => b.op("Expand", [data, b.int64("sizes", [size, 1])], "y"),
  Tile: (b, size, data) => b.op("Tile", [data, b.int64("times", [size, 1])], "y"),
  Pad: (b, size, data) => b.op("Pad", [data, b.int64("pads", [0, 0, size, 0])], "y"),
  Resize: (b, size, data) => b.op("Resize", [data, null, floats(b, "scales", [size, 1])], "y"),
};
const made: Record<string, Build> = {
  ConstantOfShape: (b, size) => b.op("ConstantOfShape", [b.int64("sizes", [size])], "y"),
  Range: (b, size) => b.op("Range", [scalar(b, "from", 0), scalar(b, "to", size), scalar(b, "by", 1)], "y"),
  HannWindow: (b, size) => b.op("HannWindow", [scalar(b, "length", size)], "y"),
};

function graphOf(build: Build, size: number, data: "input" | "constant") {
  const b = new GraphBuilder(18);
  const input = b.input("x", [1, 2]);
  const constant = b.graph.addInitializer(Tensor.float("constant", [1, 2], [1, 2]));
  b.output(build(b, size, data === "input" ? input : constant));
  return b.graph;
}

describe.each(Object.entries({ ...fills, ...made }))("%s of constants", (op, build) => {
  test("refused where no memory holds it", async () => {
    await expect(inferShapes(graphOf(build, 2 ** 31 - 1, "constant"), nodeProbe)).rejects.toThrow(
      new RegExp(`^${op} "y" would make \\d{10} numbers of constants alone`),
    );
  });

  test("computed where it is small", async () => {
    const graph = graphOf(build, 3, "constant");
    await inferShapes(graph, nodeProbe);
    expect(graph.valueNamed("y").shape?.[0]).toBe(op === "Pad" ? 4 : 3);
  });
});

test.each(Object.entries(fills))("%s of an input: ONNX Runtime computes nothing of it", async (_, build) => {
  const graph = graphOf(build, 2 ** 31 - 1, "input");
  await inferShapes(graph, nodeProbe);
  expect(graph.valueNamed("y").shape?.[1]).toBe(2);
});

const expandTo = (size: number) => [
  new onnx.NodeProto({ opType: "Constant", output: ["sizes"], attribute: [ints("value_ints", [size, 1])] }),
  new onnx.NodeProto({ opType: "Constant", output: ["number"], attribute: [float("value_float", 1)] }),
  new onnx.NodeProto({ opType: "Expand", input: ["number", "sizes"], output: ["filled"] }),
  new onnx.NodeProto({ opType: "ReduceSum", input: ["filled"], output: ["sum"] }),
];
const ints = (name: string, values: number[]) =>
  new onnx.AttributeProto({ name, ints: values.map((one) => Long.fromNumber(one)), type: 7 });
const float = (name: string, f: number) => new onnx.AttributeProto({ name, f, type: 1 });

test("the width that a FeatureVectorizer states, refused where no memory holds it", async () => {
  const graphWith = (width: number) => {
    const b = new GraphBuilder(18, { "ai.onnx.ml": 1 });
    const inputdimensions = { kind: "ints", value: [2, width] } as const;
    b.output(
      b.op(
        "FeatureVectorizer",
        [b.input("x", [1, 2]), b.input("z", [1, 3])],
        "y",
        { inputdimensions },
        "ai.onnx.ml",
      ),
    );
    return b.graph;
  };
  await expect(inferShapes(graphWith(2 ** 31 - 1), nodeProbe)).rejects.toThrow(
    'FeatureVectorizer "y" states a width of 2147483649 numbers',
  );
  const sound = graphWith(3);
  await inferShapes(sound, nodeProbe);
  expect(sound.valueNamed("y").shape).toEqual([1, 5]);
});

test("of a body", async () => {
  const graphWith = (size: number) => {
    const b = new GraphBuilder(18);
    const body = () =>
      new onnx.GraphProto({ name: "branch", node: expandTo(size), output: [{ name: "sum" }] });
    b.output(
      b.op("If", [b.input("which", [], "bool")], "y", {
        then_branch: { kind: "graph", value: body() },
        else_branch: { kind: "graph", value: body() },
      }),
    );
    return b.graph;
  };
  await expect(inferShapes(graphWith(2 ** 31 - 1), nodeProbe)).rejects.toThrow(/^Expand "filled" would make/);
  await inferShapes(graphWith(3), nodeProbe);
});

test("of a function", async () => {
  const graphWith = (size: number) => {
    const b = new GraphBuilder(18, { own: 1 });
    const [domain, name] = ["own", "Filled"];
    const opsetImport = [{ domain: "", version: Long.fromNumber(18) }];
    b.graph.functions.push(
      new onnx.FunctionProto({ domain, name, output: ["sum"], node: expandTo(size), opsetImport }),
    );
    b.output(b.op("Add", [b.input("x", [1]), b.op(name, [], "filled", {}, domain)], "y"));
    return b.graph;
  };
  await expect(inferShapes(graphWith(2 ** 31 - 1), nodeProbe)).rejects.toThrow(/^Expand "filled" would make/);
  await inferShapes(graphWith(3), nodeProbe);
});
