import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { SorthError, UsageError } from "../../src/errors.ts";
import { graphFromProto, graphToProto } from "../../src/graph/proto.ts";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";
import { DataType } from "../../src/onnx/data-types.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

const shapeOf = (b: GraphBuilder, name: string) => b.graph.valueNamed(name).shape;

describe("free dimensions", () => {
  test("a first dimension the file leaves open is the batch, named or not", async () => {
    for (const first of ["N", undefined]) {
      const b = new GraphBuilder();
      b.output(b.op("MatMul", [b.input("x", [first, 4]), b.weight("w", [4, 5])], "y"));
      expect(await inferShapes(b.graph, nodeProbe, { batch: 7 })).toMatchObject({ batch: 7, unknown: [] });
      expect(shapeOf(b, "x")).toEqual([7, 4]);
      expect(shapeOf(b, "y")).toEqual([7, 5]);
    }
  });

  test("the batch's name counts wherever it stands", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 4]);
    b.output(b.op("Add", [x, b.input("y", [4, "N"])], "z"), x);
    await expect(inferShapes(b.graph, nodeProbe, { batch: 4 })).resolves.toBeDefined();
    expect(shapeOf(b, "z")).toEqual([4, 4]);
  });

  test("ONNX Runtime is not asked for the ranks of scalars that the file holds: 20,000 took minutes", async () => {
    const b = new GraphBuilder();
    const c = b.op("Constant", [], "c", { value: { kind: "tensor", value: Tensor.float("", [], [2]) } });
    b.output(b.op("Mul", [b.input("x", ["N", 4]), c], "y"));
    const outputs = vi.fn(nodeProbe.outputs);
    await inferShapes(b.graph, { ...nodeProbe, outputs }, { batch: 2 });
    // Once for these sizes, once for a free batch twice as long.
    expect(outputs).toHaveBeenCalledTimes(2);
    expect(shapeOf(b, "c")).toEqual([]);
  });

  test("other free dimensions come from dims, by name or as input.axis", async () => {
    const b = new GraphBuilder();
    b.output(b.op("Relu", [b.input("image", ["N", 3, "height", undefined])], "y"));
    await expect(inferShapes(b.graph, nodeProbe, {})).rejects.toThrow(
      "2 lengths of inputs are left open by the file: give them, for instance with --dim height=224 --dim image.3=224",
    );
    await expect(inferShapes(b.graph, nodeProbe, { dims: { height: 8 } })).rejects.toThrow(
      'axis 3 of input "image" has no fixed length: give it with --dim image.3=N',
    );
    await inferShapes(b.graph, nodeProbe, { batch: 2, dims: { height: 8, "image.3": 9 } });
    expect(shapeOf(b, "y")).toEqual([2, 3, 8, 9]);
  });

  test("an input without a declared shape takes every axis from dims; unread, it does not matter", async () => {
    const b = new GraphBuilder();
    b.output(b.op("Relu", [b.input("x", undefined)], "y"));
    b.input("unused", undefined);
    await expect(inferShapes(b.graph, nodeProbe, {})).rejects.toThrow('input "x" declares no shape');
    await inferShapes(b.graph, nodeProbe, { dims: { "x.0": 2, "x.1": 5 } });
    expect(shapeOf(b, "y")).toEqual([2, 5]);
  });

  test("wrong options name what is wrong", async () => {
    const b = new GraphBuilder();
    b.output(b.op("Relu", [b.input("x", [3, "T"])], "y"));
    const infer = (options: object) => inferShapes(b.graph, nodeProbe, options);
    await expect(infer({ dims: { S: 2 } })).rejects.toThrow(
      new UsageError('no input has a dimension "S"; free are: T'),
    );
    await expect(infer({ dims: { T: 0 } })).rejects.toThrow(UsageError);
    await expect(infer({ batch: 4, dims: { T: 2 } })).rejects.toThrow("the model fixes its batch size at 3");
    await expect(infer({ batch: 3, dims: { T: 2 } })).resolves.toMatchObject({ batch: undefined });
  });
});

describe("what depends on the batch", () => {
  test("is found by asking twice", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 4]);
    const first = b.op("Gather", [x, b.int64("zero", [0])], "first", { axis: 0 });
    const flat = b.op("Reshape", [x, b.int64("all", [-1])], "flat");
    const total = b.op("ReduceSum", [x], "total", { keepdims: 0 });
    b.output(first, flat, total);
    await inferShapes(b.graph, nodeProbe, {});
    const fixed = [...b.graph.values].filter((value) => value.shapeFixed).map((value) => value.name);
    expect(fixed.sort()).toEqual(["all", "first", "total", "zero"]);
    expect(shapeOf(b, "flat")).toEqual([48]);
  });

  test("a model without a free batch is asked once and everything is fixed", async () => {
    const b = new GraphBuilder();
    b.output(b.op("Relu", [b.input("x", [3, 4])], "y"));
    const outputs = vi.fn(nodeProbe.outputs);
    await inferShapes(b.graph, { ...nodeProbe, outputs }, {});
    expect(outputs).toHaveBeenCalledTimes(1);
    expect(b.graph.valueNamed("y").shapeFixed).toBe(true);
  });

  test("a model that runs at one batch size only counts nothing as fixed", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 4]);
    b.output(b.op("Add", [b.op("Relu", [x], "r"), b.weight("table", [3, 4])], "y"));
    await inferShapes(b.graph, nodeProbe, { batch: 3 });
    expect(shapeOf(b, "y")).toEqual([3, 4]);
    expect(b.graph.valueNamed("y").shapeFixed).toBe(false);
  });
});

describe("traps of ONNX Runtime's answers", () => {
  test("an empty shape is a scalar only if its rank is known", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", [3, 4]);
    const total = b.op("ReduceSum", [x], "total", { keepdims: 0 });
    // A Reshape to a shape that is an input: the rank is not known.
    const unknown = b.op("Reshape", [x, b.input("shape", ["rank"], "int64")], "unknown");
    b.output(total, b.op("Relu", [unknown], "after"));
    const { unknown: left } = await inferShapes(b.graph, nodeProbe, { dims: { "shape.0": 2 } });
    expect(shapeOf(b, "total")).toEqual([]);
    expect(left.map((value) => value.name).sort()).toEqual(["after", "unknown"]);
    expect(b.graph.valueNamed("after").type).toBe("float");
  });

  test("rank unknown altogether (the shape's own length is free)", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", [3, 4]);
    const shape = b.op("NonZero", [b.input("flags", [5], "bool")], "where");
    const flat = b.op("Reshape", [shape, b.int64("flat", [-1])], "lengths");
    b.output(b.op("Reshape", [x, flat], "y"));
    await inferShapes(b.graph, nodeProbe, {});
    expect(shapeOf(b, "where")).toBeUndefined();
    expect(shapeOf(b, "y")).toBeUndefined();
  });

  test("a Constant's 2^63 − 1 stays the end of a Slice", async () => {
    const b = new GraphBuilder();
    const ends = b.op("Constant", [], "ends", { value_ints: [2 ** 63] });
    b.output(b.op("Slice", [b.input("x", [3, 4]), b.int64("starts", [1]), ends], "y"));
    await inferShapes(b.graph, nodeProbe, {});
    expect(shapeOf(b, "y")).toEqual([2, 4]);
  });

  test("sequences are no tensors; tensors taken from them are", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 4]);
    const sequence = b.op("SplitToSequence", [x], "sequence", { axis: 1, keepdims: 1 });
    b.output(b.op("SequenceAt", [sequence, b.int64("zero", 0)], "first"), b.op("Relu", [x], "y"));
    await inferShapes(b.graph, nodeProbe, { batch: 5 });
    expect(b.graph.valueNamed("sequence")).toMatchObject({ type: undefined, shape: undefined });
    expect(shapeOf(b, "y")).toEqual([5, 4]);
  });

  test("a sequence input keeps its type through the graph", async () => {
    const b = new GraphBuilder();
    const sequence = b.graph.addInput("sequence", undefined);
    const elemType = { tensorType: { elemType: DataType.float } };
    sequence.otherType = { sequenceType: { elemType } };
    b.output(b.op("ConcatFromSequence", [sequence], "y", { axis: 0 }));
    const read = graphFromProto(decodeModelProto(encodeModelProto(graphToProto(b.graph))));
    await inferShapes(read, nodeProbe, {});
    expect(read.valueNamed("y")).toMatchObject({ type: "float", shape: undefined });
  });

  test("shapes computed by Shape, Gather, Concat and Reshape are resolved", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 3, 4]);
    const n = b.op("Gather", [b.op("Shape", [x], "shape"), b.int64("zero", [0])], "n");
    const target = b.op("Concat", [n, b.int64("rest", [-1])], "target", { axis: 0 });
    b.output(b.op("Reshape", [x, target], "y"));
    await inferShapes(b.graph, nodeProbe, { batch: 5 });
    expect(shapeOf(b, "y")).toEqual([5, 12]);
  });

  test.each([
    ["GreaterOrEqual", 13, "bool"],
    ["LessOrEqual", 12, "bool"],
    ["MeanVarianceNormalization", 18, "float"],
  ])("%s of opset %i, a function whose shape ONNX Runtime leaves unknown", async (op, opset, type) => {
    const b = new GraphBuilder(opset);
    const inputs = op.endsWith("Equal")
      ? [b.input("x", ["N", 1, 3, 1]), b.weight("w", [4])]
      : [b.input("x", ["N", 1, 3, 4])];
    b.output(b.op("Identity", [b.op(op, inputs, "made")], "y"));
    await inferShapes(b.graph, nodeProbe, { batch: 2 });
    expect(b.graph.valueNamed("y")).toMatchObject({ type, shape: [2, 1, 3, 4] });
  });

  test("what the file claims of shapes is not believed", async () => {
    const b = new GraphBuilder();
    const y = b.op("Relu", [b.input("x", [3, 4])], "y");
    y.declared = [17, "wrong"];
    y.type = "int64";
    b.output(y);
    await inferShapes(b.graph, nodeProbe, {});
    expect(y).toMatchObject({ type: "float", shape: [3, 4] });
  });

  test("values in bodies are invisible, what a body captures and returns is not", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 4]);
    const outer = b.op("Relu", [x], "outer");
    const body = (op: string, name: string): onnx.GraphProto => {
      const output = [new onnx.ValueInfoProto({ name })];
      return new onnx.GraphProto({ name, node: [{ opType: op, input: ["outer"], output: [name] }], output });
    };
    b.graph.addNode({
      opType: "If",
      inputs: [b.input("flag", [], "bool")],
      outputs: ["y"],
      attributes: new Map([
        ["then_branch", { kind: "graph", value: body("Neg", "inner") }],
        ["else_branch", { kind: "graph", value: body("Exp", "inner2") }],
      ]),
      captures: [outer],
    });
    b.output(b.graph.valueNamed("y"));
    await inferShapes(b.graph, nodeProbe, { batch: 6 });
    expect(shapeOf(b, "y")).toEqual([6, 4]);
    expect(b.graph.value("inner")).toBeUndefined();
  });
});

describe("inputs and initializers", () => {
  test("large constant data is not copied into the question, small data is", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 64]);
    const h = b.op("MatMul", [x, b.weight("w", [64, 64])], "h");
    const large = b.op("Constant", [], "large", { value: Tensor.float("", [2048], new Float32Array(2048)) });
    b.output(b.op("Reshape", [h, b.int64("shape", [-1, 8, 8])], "y"), b.op("Neg", [large], "z"));
    const sizes: number[] = [];
    const outputs = (model: Uint8Array) => {
      sizes.push(model.length);
      return nodeProbe.outputs(model);
    };
    await inferShapes(b.graph, { ...nodeProbe, outputs }, { batch: 2 });
    expect(shapeOf(b, "y")).toEqual([2, 8, 8]);
    expect(shapeOf(b, "large")).toEqual([2048]);
    expect(Math.max(...sizes)).toBeLessThan(2000);
  });

  test("an initializer listed as a graph input too (IR 3) is constant: a shape read from it resolves", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", [4, 6]);
    b.input("shape", [2], "int64");
    const shape = b.int64("shape", [3, 8]);
    b.input("w", [8, 5]);
    const y = b.op("Reshape", [x, shape], "y");
    b.output(b.op("MatMul", [y, b.weight("w", [8, 5])], "z"));
    await inferShapes(b.graph, nodeProbe, {});
    expect(shapeOf(b, "z")).toEqual([3, 5]);
  });

  test("outputs that are inputs or initializers, and a graph without nodes", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 2]);
    b.output(x, b.weight("w", [3]));
    await expect(inferShapes(b.graph, nodeProbe, { batch: 3 })).resolves.toMatchObject({ unknown: [] });
    b.output(b.op("Relu", [x], "y"));
    await inferShapes(b.graph, nodeProbe, { batch: 3 });
    expect(shapeOf(b, "y")).toEqual([3, 2]);
  });

  test("bfloat16 and float8 values, which the binding cannot describe, have types and shapes", async () => {
    const b = new GraphBuilder(19);
    const w = b.graph.addInitializer(Tensor.of("w", "bfloat16", [4, 512], new Uint16Array(2048)));
    const cast = b.op("Cast", [w], "cast", { to: DataType.float });
    const x = b.input("x", ["N", 4]);
    b.output(b.op("MatMul", [x, cast], "y"), b.op("Cast", [x], "half", { to: DataType.bfloat16 }));
    b.output(b.op("Cast", [x], "eighth", { to: DataType.float8e4m3fn }));
    await inferShapes(b.graph, nodeProbe, { batch: 3 });
    expect(shapeOf(b, "y")).toEqual([3, 512]);
    expect(b.graph.valueNamed("half")).toMatchObject({ type: "bfloat16", shape: [3, 4] });
    expect(b.graph.valueNamed("eighth")).toMatchObject({ type: "float8e4m3fn", shape: [3, 4] });
  });

  test("model-local functions are called like operators", async () => {
    const b = new GraphBuilder(18, { local: 1 });
    b.graph.functions.push({
      name: "Twice",
      domain: "local",
      input: ["a"],
      output: ["b"],
      node: [{ opType: "Add", input: ["a", "a"], output: ["b"] }],
      opsetImport: graphToProto(b.graph).opsetImport,
    });
    b.output(b.op("Twice", [b.input("x", ["N", 2])], "y", {}, "local"));
    const read = graphFromProto(decodeModelProto(encodeModelProto(graphToProto(b.graph))));
    await inferShapes(read, nodeProbe, { batch: 3 });
    expect(read.valueNamed("y").shape).toEqual([3, 2]);
  });
});

test("a model that ONNX Runtime refuses is refused in one line with its message", async () => {
  const b = new GraphBuilder();
  b.output(b.op("MatMul", [b.input("x", [1, 3]), b.weight("w", [4, 2])], "y"));
  const error = await inferShapes(b.graph, nodeProbe, {}).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(SorthError);
  expect(String(error)).toMatch(/^SorthError: ONNX Runtime refuses the model: [^\n]+$/);
});

test.each(["mlp", "cnn", "pointnet"])("every value of the sample model %s is known", async (name) => {
  const graph = graphFromProto(decodeModelProto(readFileSync(`models/${name}.onnx`)));
  const { unknown } = await inferShapes(graph, nodeProbe, { batch: 4 });
  expect(unknown).toEqual([]);
  expect(graph.outputs.map((output) => output.shape)).toEqual([[4, 10]]);
});

describe("an If whose other branch does not fit the sizes asked for", () => {
  test("is no reason to refuse the model: the branch that fits tells the shapes", async () => {
    const b = new GraphBuilder(17);
    const x = b.input("x", ["N", "len"]);
    const branch = (width: number) => {
      const name = (part: string) => `${part}${width}`;
      const inner = new GraphBuilder(17);
      inner.weight(name("w"), [4, 1, width]);
      inner.int64(name("axis"), [1]);
      inner.int64(name("last"), [2]);
      const { graph } = graphToProto(inner.graph);
      return new onnx.GraphProto({
        ...graph,
        node: [
          { opType: "Unsqueeze", input: ["x", name("axis")], output: [name("u")] },
          { opType: "Conv", input: [name("u"), name("w")], output: [name("c")] },
          { opType: "Squeeze", input: [name("c"), name("last")], output: [name("o")] },
        ],
        output: [{ name: name("o") }],
      });
    };
    b.graph.addNode({
      opType: "If",
      inputs: [b.input("flag", [], "bool")],
      outputs: ["y"],
      attributes: new Map([
        ["then_branch", { kind: "graph", value: branch(16) }],
        ["else_branch", { kind: "graph", value: branch(8) }],
      ]),
      captures: [x],
    });
    b.output(b.graph.valueNamed("y"));
    await inferShapes(b.graph, nodeProbe, { dims: { len: 8 } });
    expect(b.graph.valueNamed("y").shape).toEqual([12, 4]);
    await expect(inferShapes(b.graph, nodeProbe, { dims: { len: 7 } })).rejects.toThrow(
      /ONNX Runtime refuses/,
    );
  });
});
