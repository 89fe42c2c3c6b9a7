import { describe, expect, test } from "vitest";
import { attributeToProto, int, ints } from "../../../src/graph/attribute.ts";
import { checkFunctionSize } from "../../../src/graph/function-size.ts";
import { graphFromProto } from "../../../src/graph/proto.ts";
import { differentiate } from "../../../src/index.ts";
import type { Model } from "../../../src/onnx/model.ts";
import { onnx } from "../../../src/onnx/schema.js";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { inlineFunctions } from "../../../src/passes/expansion/inline-functions.ts";
import { runGraphPass } from "../../../src/passes/pass.ts";
import {
  body,
  checkGradients,
  DoubleBuilder,
  doubles,
  localFunction,
  loopInputs,
  operatorsOf,
  runGraph,
  withFunctions,
} from "./models.ts";

const kinds = onnx.AttributeProto.AttributeType;
const x = doubles("x", [2, 3]);

const node = (opType: string, input: string[], output: string[], rest: onnx.NodeProto.$Properties = {}) =>
  new onnx.NodeProto({ opType, input, output, ...rest });
const reference = (name: string, refAttrName: string, type: onnx.AttributeProto.AttributeType) => ({
  name,
  refAttrName,
  type,
});

/** linear(x, w, b?) = Gemm(x, w, b) with attributes handed on; `slope` has a default. */
const linear = localFunction("Linear", {
  input: ["x", "w", "b"],
  output: ["y"],
  attribute: ["transposed"],
  attributeProto: [{ name: "slope", type: kinds.FLOAT, f: 0.5 }],
  node: [
    node("Gemm", ["x", "w", "b"], ["h"], {
      attribute: [reference("transB", "transposed", kinds.INT), reference("alpha", "slope", kinds.FLOAT)],
    }),
    node("Tanh", ["h"], ["y"]),
  ],
});

/** block(x, w) = linear(linear(x, w), w) + linear(x, w): a function that calls a function. */
const block = localFunction("Block", {
  input: ["x", "w"],
  output: ["out"],
  node: [
    node("Linear", ["x", "w"], ["h"], { domain: "local" }),
    node("Linear", ["h", "w", ""], ["y"], { domain: "local" }),
    node("Add", ["h", "y"], ["out"]),
  ],
});

const builder = (opset = 18) => {
  const b = new DoubleBuilder(opset, { local: 1 });
  b.input("x", [2, 3], "double");
  return b;
};

const inlined = (model: Model) => {
  const graph = graphFromProto(model.proto);
  runGraphPass(inlineFunctions(), graph);
  return graph;
};

/** Both calls of Linear: with a bias, transposed weights and a slope; without a bias, with the default. */
function calls(): Model {
  const b = builder();
  const [w, bias, v] = [
    b.weight("fc.weight", [3, 3]),
    b.weight("fc.bias", [3]),
    b.weight("last.weight", [3, 3]),
  ];
  const h = b.op(
    "Linear",
    [b.graph.valueNamed("x"), w, bias],
    "h",
    { transposed: 1, slope: { kind: "float", value: 2 } },
    "local",
  );
  return withFunctions(b.loss(b.op("Linear", [h, v], "y", {}, "local")), linear);
}

describe("functions", () => {
  test("attributes, their defaults and absent inputs", async () => {
    expect(await checkGradients(calls(), { x })).toEqual(["fc.weight", "fc.bias", "last.weight"]);
    const { model } = await differentiate(calls(), { loss: "loss" });
    expect(model.proto.functions).toEqual([]);
    expect(operatorsOf(model)).not.toContain("Linear");
  });

  test("inlined, every output keeps its name and its numbers", async () => {
    const model = calls();
    const graph = inlined(model);
    const before = await runGraph(graphFromProto(model.proto), { x });
    const after = await runGraph(graph, { x });
    expect(after.get("loss")?.data).toEqual(before.get("loss")?.data);
    expect(graph.nodes.map(({ op, label }) => `${op} ${label}`)).toEqual([
      "Mul square",
      "ReduceMean loss",
      "Gemm h/Gemm",
      "Tanh h/Tanh",
      "Gemm y/Gemm",
      "Tanh y/Tanh",
    ]);
    expect(graph.valueNamed("h").producer?.label).toBe("h/Tanh");
  });

  test("functions that functions call", async () => {
    const b = builder();
    const w = b.weight("fc.weight", [3, 3]);
    const h = b.op("Block", [b.graph.valueNamed("x"), w], "h", {}, "local");
    const model = withFunctions(b.loss(b.op("Block", [h, w], "y", {}, "local")), block, linear);
    expect(await checkGradients(model, { x })).toEqual(["fc.weight"]);
  });

  test("an output that is the input, and a graph output made by a call, keep their names", async () => {
    const through = localFunction("Through", {
      input: ["a", "b"],
      output: ["a", "sum"],
      node: [node("Add", ["a", "b"], ["sum"])],
    });
    const b = builder();
    const [a, sum] = b.many(
      "Through",
      [b.graph.valueNamed("x"), b.weight("fc.bias", [3])],
      ["a", "sum"],
      {},
      "local",
    );
    const model = withFunctions(b.model(a as NonNullable<typeof a>, sum as NonNullable<typeof sum>), through);
    const graph = inlined(model);
    expect(graph.outputs.map(({ name }) => name)).toEqual(["a", "sum"]);
    const results = await runGraph(graph, { x });
    expect(results.get("a")?.data).toEqual(x.data);
  });

  test("which of several is called is told by the overload", async () => {
    const scaled = (overload: string, op: string) =>
      localFunction("Act", { overload, input: ["x"], output: ["y"], node: [node(op, ["x"], ["y"])] });
    const b = builder();
    const h = b.op("Mul", [b.graph.valueNamed("x"), b.weight("s.weight", [3])], "h");
    const [y] = b.graph.addNode({
      opType: "Act",
      domain: "local",
      overload: "second",
      inputs: [h],
      outputs: ["y"],
    }).outputs;
    const graph = inlined(
      withFunctions(b.loss(y as NonNullable<typeof y>), scaled("", "Exp"), scaled("second", "Tanh")),
    );
    expect(graph.nodes.map(({ op }) => op)).toContain("Tanh");
    expect(graph.nodes.map(({ op }) => op)).not.toContain("Exp");
  });

  test("calls inside the branches of an If and the body of a Loop", async () => {
    const b = builder();
    b.weight("fc.weight", [3, 3]);
    const branch = (count: number) =>
      body((t) => [
        Array.from({ length: count }).reduce(
          (h: ReturnType<typeof t.outer>, _, i) =>
            t.op("Linear", [h, t.outer("fc.weight")], `t${count}${i}`, {}, "local"),
          t.outer("x"),
        ),
      ]);
    const y = b.op("If", [b.input("flag", [], "bool")], "y", {
      then_branch: branch(1),
      else_branch: branch(2),
    });
    const model = withFunctions(b.loss(y), linear);
    for (const value of [0, 1]) {
      const flag = Tensor.of("flag", "bool", [], Uint8Array.of(value));
      expect(await checkGradients(model, { x, flag })).toEqual(["fc.weight"]);
    }
    const { model: gradient } = await differentiate(model, { loss: "loss" });
    expect(gradient.proto.functions).toEqual([]);

    const c = builder();
    c.weight("fc.weight", [3, 3]);
    const h = c.op("Loop", [c.int64("n", 3), null, c.graph.valueNamed("x")], "h", {
      body: body((l) => {
        const [, going] = loopInputs(l);
        const next = l.op(
          "Block",
          [l.input("state", undefined, "double"), l.outer("fc.weight")],
          "next",
          {},
          "local",
        );
        return [l.op("Identity", [going], "still"), next];
      }),
    });
    expect(await checkGradients(withFunctions(c.loss(h), block, linear), { x })).toEqual(["fc.weight"]);
  });

  test("calls deeper than ONNX Runtime's stack are refused, whichever function is defined first", () => {
    const calling = (op: string) => [node(op, ["x"], ["y"], { domain: "local" })];
    const chain = Array.from({ length: 501 }, (_, level) =>
      localFunction(`F${level}`, { input: ["x"], output: ["y"], node: calling(`F${level - 1}`) }),
    );
    for (const functions of [chain, chain.toReversed()]) {
      expect(() => checkFunctionSize(functions, calling("F500"))).toThrow(/more than 500 deep/);
    }
    checkFunctionSize(chain.slice(0, 500), calling("F499"));
  });

  test.each([
    ["ai.onnx", "Relu", "the domain of the standard operators"],
    ["com.microsoft", "Gelu", "com.microsoft"],
    ["ai.onnx.ml", "Normalizer", "ai.onnx.ml"],
  ])("a function in %s is refused: ONNX Runtime calls its own %s in its place", (domain, name, said) => {
    const taken = new onnx.FunctionProto({ ...linear, name, domain });
    expect(() => checkFunctionSize([linear, taken], [])).toThrow(`a function ${name} in ${said}, where`);
  });

  test("a function of an older opset is raised, a newer one raises the model", async () => {
    const old = localFunction("Old", {
      opset: 11,
      input: ["x"],
      output: ["y"],
      node: [
        node("ReduceSum", ["x"], ["y"], {
          attribute: [attributeToProto("axes", ints([1])), attributeToProto("keepdims", int(0))],
        }),
      ],
    });
    const b = builder(18);
    const model = withFunctions(b.model(b.op("Old", [b.graph.valueNamed("x")], "y", {}, "local")), old);
    const sums = (await runGraph(inlined(model), { x })).get("y")?.numbers();
    const numbers = x.numbers();
    const sum = (row: number) => numbers.slice(row, row + 3).reduce((total, value) => total + value);
    expect(sums).toEqual([sum(0), sum(3)]);

    const newer = localFunction("Newer", {
      opset: 18,
      input: ["x"],
      output: ["y"],
      node: [node("Tanh", ["x"], ["y"])],
    });
    const c = builder(11);
    const k = c.op("Mul", [c.graph.valueNamed("x"), c.weight("s.weight", [3])], "h");
    const reduced = c.op("ReduceMax", [c.op("Newer", [k], "t", {}, "local")], "y", { axes: [0] });
    expect(inlined(withFunctions(c.loss(reduced), newer)).opset).toBe(18);
  });

  test("one that calls itself is refused", () => {
    const cycle = localFunction("Cycle", {
      input: ["x"],
      output: ["y"],
      node: [node("Again", ["x"], ["y"], { domain: "local" })],
    });
    const again = localFunction("Again", {
      input: ["x"],
      output: ["y"],
      node: [node("Cycle", ["x"], ["y"], { domain: "local" })],
    });
    const b = builder();
    const model = withFunctions(
      b.loss(b.op("Cycle", [b.graph.valueNamed("x")], "y", {}, "local")),
      cycle,
      again,
    );
    expect(() => inlined(model)).toThrow("the function local.Cycle calls itself");
  });

  test("functions that double at every level end with an error", () => {
    const level = (i: number) =>
      localFunction(`F${i}`, {
        input: ["x"],
        output: ["y"],
        node:
          i === 0
            ? [node("Neg", ["x"], ["y"])]
            : [
                node(`F${i - 1}`, ["x"], ["h"], { domain: "local" }),
                node(`F${i - 1}`, ["h"], ["y"], { domain: "local" }),
              ],
      });
    const b = builder();
    const model = withFunctions(
      b.loss(b.op("F30", [b.graph.valueNamed("x")], "y", {}, "local")),
      ...Array.from({ length: 31 }, (_, i) => level(i)),
    );
    expect(() => inlined(model)).toThrow("nodes, more than 20000: export it without functions");
  });
});
