import { describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { SorthError } from "../../src/errors.ts";
import { checkGraph } from "../../src/graph/check.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { cases } from "./emit-cases.ts";

const opsets = [11, 13, 18, 22, 26];
const listed = Object.entries(cases).flatMap(([method, list]) =>
  list.flatMap((one, i) =>
    opsets
      .filter((opset) => opset >= (one.since ?? 0))
      .map((opset) => ({ name: `${method} ${i + 1}`, opset, ...one })),
  ),
);

describe("ONNX Runtime says the same type and shape, and computes what the method says", () => {
  test.each(listed)("$name at opset $opset", async ({ name, opset, inputs = [], emit, expected }) => {
    const graph = new Graph("test", new Map([["", opset]]));
    const g = new Emit(graph, { prefix: "t/" });
    const data = inputs.map((dims, i) => randomFloats(`${name} ${i}`, elementCount(dims), 0.1, 1));
    const values = inputs.map((dims, i) => graph.addInput("abc"[i] ?? "", "float", dims) as Typed);
    const made = emit(g, ...values);
    // A method may return its input or a constant: behind a further node every result is an output.
    const y = g.op("Identity", [made], made.shape);
    graph.addOutput(y);
    checkGraph(graph);

    const said = { type: made.type, shape: made.shape };
    await inferShapes(graph, nodeProbe);
    expect({ type: y.type, shape: y.shape }).toEqual(said);

    const feeds = values.map(({ name, shape }, i) => {
      return [name, Tensor.of(name, "float", shape, data[i] ?? new Float32Array())] as const;
    });
    const result = (await runModel(graph, Object.fromEntries(feeds)))[y.name];
    expect({ type: result?.type, shape: result?.dims }).toEqual(said);
    const numbers = result?.numbers() ?? [];
    const wanted = expected?.(...data.map((block) => [...block]));
    if (wanted) expect(numbers).toHaveLength(wanted.length);
    wanted?.forEach((value, i) => {
      expect(numbers[i]).toBeCloseTo(value, 5);
    });
  });
});

const emitter = (options: { constants?: "nodes"; metadata?: ReadonlyMap<string, string> } = {}) =>
  new Emit(new Graph("test", new Map([["", 18]])), { prefix: "sorth/", ...options });

describe("constants", () => {
  test("are shared where equal, in type, shape and numbers", () => {
    const g = emitter();
    expect(g.int64s([1, 2])).toBe(g.int64s([1, 2]));
    expect(g.scalar(1)).toBe(g.scalar(1));
    const vector = g.constant("float", [1], Float32Array.of(1));
    expect(new Set([g.scalar(1), g.scalar(1, "double"), vector, g.scalar(2)]).size).toBe(4);
    expect(g.graph.initializers).toHaveLength(5);
  });

  test("are made again once the graph is pruned of them", () => {
    const g = emitter();
    const scalars = () => [g.scalar(1), g.once("two", () => g.scalar(2))];
    const before = scalars();
    g.graph.prune();
    expect(scalars().map((value) => before.includes(value))).toEqual([false, false]);
    expect(g.graph.initializers).toHaveLength(2);
  });

  test("are nodes where asked for; half types are cast, once", () => {
    const g = emitter({ constants: "nodes" });
    const half = g.scalar(0.5, "float16");
    expect(half).toMatchObject({ type: "float16", shape: [] });
    expect(g.graph.nodes.map(({ opType }) => opType)).toEqual(["Constant", "Cast"]);
    expect(g.graph.initializers).toEqual([]);
    expect(g.scalar(0.5, "float16")).toBe(half);
  });

  test("of the wrong size are refused", () => {
    expect(() => emitter().constant("float", [2], Float32Array.of(1))).toThrow("was given 1 elements");
  });
});

describe("what does not fit is an error that says so", () => {
  type Input = (name: string, shape?: readonly number[]) => Typed;
  test.each<[string, (g: Emit, input: Input) => Typed]>([
    ["shapes [2, 3] and [2] do not broadcast", (g, input) => g.add(input("a", [2, 3]), input("b", [2]))],
    [
      "MatMul of [2, 3] and [4, 5]: inner dimensions differ",
      (g, input) => g.matMul(input("a", [2, 3]), input("b", [4, 5])),
    ],
    ["axis 2 is outside rank 2", (g, input) => g.reduceSum(input("a", [2, 3]), [2])],
    ['the shape of "a" is not known', (g, input) => g.neg(input("a"))],
  ])("%s", (message, build) => {
    const g = emitter();
    const input: Input = (name, shape) => g.graph.addInput(name, "float", shape) as Typed;
    let thrown: unknown;
    try {
      build(g, input);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(SorthError);
    expect(String(thrown)).toContain(message);
  });
});

test("nodes and values are named under the prefix and carry the metadata", () => {
  const g = emitter({ metadata: new Map([["made", "here"]]) });
  const x = g.graph.addInput("x", "float", [2]);
  const y = g.sub(1, x);
  expect(y.name).toBe("sorth/Sub");
  expect(y.producer?.name).toBe("sorth/Sub");
  expect(y.producer?.metadata.get("made")).toBe("here");
  expect(g.sub(1, x).name).not.toBe(y.name);
  const [first, second] = g.multi(
    "Split",
    [x],
    [
      { type: "float", shape: [1] },
      { type: "float", shape: [1] },
    ],
  );
  expect([first?.name, second?.name]).toEqual(["sorth/Split", "sorth/Split.1"]);
});
