import { describe, expect, test, vi } from "vitest";
import { inferShapes } from "../../../src/analysis/infer.ts";
import { checkGraph } from "../../../src/graph/check.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import { printGraph } from "../../../src/graph/print.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { onnx } from "../../../src/onnx/schema.js";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { foldConstants } from "../../../src/passes/cleanup/fold-constants.ts";
import { liftConstants } from "../../../src/passes/cleanup/lift-constants.ts";
import { runGraphPass, runPass } from "../../../src/passes/pass.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { randomFloats } from "../../helpers/numbers.ts";
import { passContext } from "../../helpers/pass-context.ts";
import { plain } from "../../helpers/plain-tensors.ts";
import { runModel } from "../../helpers/run-model.ts";

/** Infers with a batch of 5 and folds; the result is sound. @returns how many models ONNX Runtime ran */
async function fold(graph: Graph, keep: readonly string[] = []): Promise<number> {
  await inferShapes(graph, nodeProbe, { batch: 5 });
  const run = vi.fn(nodeProbe.run);
  const context = passContext(graph, { probe: { ...nodeProbe, run } });
  await runPass(foldConstants({ keep: new Set(keep) }), graph, context);
  checkGraph(graph);
  return run.mock.calls.length;
}

describe("foldConstants", () => {
  test("chains of Shape, Gather, Concat and Reshape become one shape, in one run", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 3, 4]);
    const n = b.op("Gather", [b.op("Shape", [x], "shape"), b.int64("zero", [0])], "n");
    const target = b.op("Concat", [n, b.int64("rest", [-1])], "target", { axis: 0 });
    b.output(b.op("Reshape", [x, target], "y"));
    expect(await fold(b.graph)).toBe(1);
    expect(printGraph(b.graph)).toMatchInlineSnapshot(`
      "input %x: float[5, 3, 4]
      const %target: int64[2] = [5, -1]
      %y: float[5, 12] = Reshape(%x, %target)
      return %y"
    `);
  });

  test.each([
    [{}, [5, 3, 4]],
    [{ start: 1 }, [3, 4]],
    [{ start: -2, end: -1 }, [3]],
    [{ end: 1 }, [5]],
  ])("Shape %j without asking ONNX Runtime", async (attributes, expected) => {
    const b = new GraphBuilder();
    const shape = b.op("Shape", [b.input("x", ["N", 3, 4])], "shape", attributes);
    b.output(shape, b.op("Size", [b.graph.valueNamed("x")], "size"));
    expect(await fold(b.graph)).toBe(0);
    expect(b.graph.nodes).toEqual([]);
    expect(b.graph.valueNamed("shape").initializer?.numbers()).toEqual(expected);
    expect(b.graph.valueNamed("size").initializer).toMatchObject({ dims: [] });
    expect(b.graph.valueNamed("size").initializer?.numbers()).toEqual([60]);
  });

  test("what is computed from a kept parameter stays; from another constant it does not", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 4]);
    const kept = b.op("Transpose", [b.weight("w", [7, 4])], "kept", { perm: [1, 0] });
    const frozen = b.op("Transpose", [b.weight("v", [6, 7])], "frozen", { perm: [1, 0] });
    b.output(b.op("MatMul", [b.op("MatMul", [x, kept], "h"), frozen], "y"));
    const feeds = { x: Tensor.float("x", [5, 4], randomFloats("x", 20)) };
    const before = plain(await runModel(b.graph, feeds, { optimize: false }));
    await fold(b.graph, ["w"]);
    expect(b.graph.nodes.map((node) => node.opType)).toEqual(["Transpose", "MatMul", "MatMul"]);
    expect(b.graph.valueNamed("frozen").initializer?.dims).toEqual([7, 6]);
    expect(plain(await runModel(b.graph, feeds, { optimize: false }))).toEqual(before);
  });

  test("every form of Constant becomes an initializer", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 3]);
    const tensor = b.op("Constant", [], "tensor", { value: Tensor.float("", [3], [1, 2, 3]) });
    const one = b.op("Constant", [], "one", { value_float: { kind: "float", value: 1 } });
    const shape = b.op("Constant", [], "ints", { value_ints: [-1, 1, 3] });
    b.output(b.op("Reshape", [b.op("Add", [b.op("Mul", [x, tensor], "m"), one], "a"), shape], "y"));
    await fold(b.graph);
    expect(b.graph.nodes.map((node) => node.opType)).toEqual(["Mul", "Add", "Reshape"]);
    expect(b.graph.valueNamed("one").initializer?.numbers()).toEqual([1]);
  });

  test("floats too many to store stay computed, from stored operands; integers are stored", async () => {
    const b = new GraphBuilder();
    const size = b.op("Add", [b.int64("a", [40_000]), b.int64("b", [30_000])], "size");
    const zero = Tensor.float("", [1], [0]);
    const floats = b.op("ConstantOfShape", [size], "floats", { value: zero });
    const integers = b.op("ConstantOfShape", [size], "integers", { value: Tensor.int64("", [1], [7]) });
    const x = b.input("x", ["N", 1]);
    const indices = b.op("Cast", [x], "indices", { to: 7 });
    b.output(b.op("Add", [x, floats], "y"), b.op("Add", [indices, integers], "z"));
    await fold(b.graph);
    expect(b.graph.valueNamed("floats").producer?.inputs[0]?.initializer?.numbers()).toEqual([70_000]);
    expect(b.graph.valueNamed("integers").initializer?.size).toBe(70_000);
    expect(b.graph.value("a")).toBeUndefined();
  });

  test("random numbers are no constants", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 4]);
    const noise = b.op("RandomNormal", [], "noise", { shape: [4] });
    const like = b.op("RandomUniformLike", [b.weight("w", [4])], "like");
    b.output(b.op("Add", [x, b.op("Add", [noise, b.op("Neg", [like], "minus")], "sum")], "y"));
    expect(await fold(b.graph)).toBe(0);
    expect(b.graph.nodes).toHaveLength(5);
  });

  test("nodes with bodies stay, and see a folded value by its name", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["N", 4]);
    const two = b.op("Add", [b.weight("one", [4]), b.weight("other", [4])], "two");
    const branch = (op: string): onnx.GraphProto => {
      const node = [{ opType: op, input: ["x", "two"], output: [`${op}_out`] }];
      return new onnx.GraphProto({
        name: op,
        node,
        output: [new onnx.ValueInfoProto({ name: `${op}_out` })],
      });
    };
    b.graph.addNode({
      opType: "If",
      inputs: [b.graph.addInitializer(Tensor.of("flag", "bool", [], Uint8Array.of(1)))],
      outputs: ["y"],
      attributes: new Map([
        ["then_branch", { kind: "graph", value: branch("Add") }],
        ["else_branch", { kind: "graph", value: branch("Sub") }],
      ]),
      captures: [x, two],
    });
    b.output(b.graph.valueNamed("y"));
    const feeds = { x: Tensor.float("x", [5, 4], randomFloats("x", 20)) };
    const before = plain(await runModel(b.graph, feeds));
    await fold(b.graph);
    expect(b.graph.nodes.map((node) => node.opType)).toEqual(["If"]);
    expect(two.initializer?.dims).toEqual([4]);
    expect(plain(await runModel(b.graph, feeds))).toEqual(before);
  });

  test("operators outside the standard domain and model-local functions stay", async () => {
    const b = new GraphBuilder(18, { local: 1 });
    const { opsetImport } = graphToProto(b.graph);
    b.graph.functions.push({
      ...{ name: "Noise", domain: "local", input: ["a"], output: ["b"], opsetImport },
      node: [{ opType: "RandomNormalLike", input: ["a"], output: ["b"] }],
    });
    const noise = b.op("Noise", [b.weight("w", [4])], "noise", {}, "local");
    b.output(b.op("Add", [b.input("x", [5, 4]), noise], "y"));
    await fold(b.graph);
    expect(b.graph.nodes.map((node) => node.op)).toEqual(["local.Noise", "Add"]);
  });

  test("a node of which one output alone is read keeps its others out of the graph", async () => {
    const b = new GraphBuilder();
    const w = b.graph.addInitializer(Tensor.float("w", [4, 2], [0, 1, 2, 3, 4, 5, 6, 7]));
    const [, second] = b.many("Split", [w, b.int64("sizes", [1, 3])], ["first", "second"], { axis: 0 });
    b.output(b.op("MatMul", [b.input("x", ["N", 3]), second ?? w], "y"));
    await fold(b.graph);
    expect(printGraph(b.graph)).toMatchInlineSnapshot(`
      "input %x: float[5, 3]
      const %second: float[3, 2] = [2, 3, 4, 5, 6, 7]
      %y: float[5, 2] = MatMul(%x, %second)
      return %y"
    `);
  });
});

test("liftConstants keeps the value that readers hold", () => {
  const b = new GraphBuilder();
  const w = b.op("Constant", [], "w", { value: Tensor.float("", [1, 2], [1, 2]) });
  const y = b.op("Neg", [w], "y");
  b.output(y);
  runGraphPass(liftConstants(), b.graph);
  expect(w).toMatchObject({ type: "float", shape: [1, 2], producer: undefined });
  expect(y.producer?.inputs[0]).toBe(w);
  checkGraph(b.graph);
});
