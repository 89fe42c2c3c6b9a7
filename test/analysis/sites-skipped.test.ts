import { describe, expect, test } from "vitest";
import { hiddenLayers } from "../../src/analysis/hidden-sites.ts";
import { inferShapes } from "../../src/analysis/infer.ts";
import { findSites } from "../../src/analysis/sites.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { type Build, sitesOf } from "./sites-of.ts";

describe("skipped with a reason", () => {
  test.each<[string, (number | string)[], Build]>([
    ["one unit has no pairs", ["N", 4], (b, x) => b.op("Gemm", [x, b.weight("w", [4, 1])], "y")],
    ["one unit has no pairs", ["N", 4], (b, x) => b.op("MatMul", [x, b.weight("w", [4])], "y")],
    [
      "one row of responses: angles need at least two",
      [4],
      (b, x) => b.op("MatMul", [b.weight("w", [3, 4]), x], "y"),
    ],
    [
      "its outputs are int32, not floats",
      ["N", 4],
      (b, x) => {
        const w = b.graph.addInitializer(Tensor.of("w", "int32", [4, 3], new Int32Array(12)));
        return b.op("MatMul", [b.op("Cast", [x], "c", { to: 6 }), w], "y");
      },
    ],
    [
      "depthwise: each of its 4 units sees other channels",
      ["N", 4, 9],
      (b, x) => b.op("Conv", [x, b.weight("w", [4, 1, 3])], "y", { group: 4 }),
    ],
    ["no operand is a parameter", ["N", 4, 4], (b, x) => b.op("MatMul", [x, b.op("Relu", [x], "r")], "y")],
    [
      "both operands are parameters",
      [4],
      (b) => b.op("MatMul", [b.weight("v", [3, 4]), b.weight("w", [4, 5])], "y"),
    ],
    [
      "its weight is computed, and no parameter of its size is what it is computed from",
      ["N", 4, 9],
      (b, x) => b.op("Conv", [x, b.op("Exp", [b.weight("w", [4, 4, 3])], "e")], "y"),
    ],
    [
      "its weight is a stack of matrices, one for each index of the batch",
      [2, 3, 4],
      (b, x) => b.op("MatMul", [x, b.weight("w", [2, 4, 5])], "y"),
    ],
    [
      "a convolution over 4 axes; supported are 1 to 3",
      [2, 3, 4, 4, 4, 4],
      (b, x) => b.op("Conv", [x, b.weight("w", [2, 3, 1, 1, 1, 1])], "y"),
    ],
  ])("%s (%j)", async (reason, input, build) => {
    const { sites, skipped } = await sitesOf(input, build);
    expect(sites).toEqual([]);
    expect(skipped).toMatchObject([{ name: "y", reason }]);
  });

  test.each<[string, RegExp, (number | string)[], Build]>([
    [
      "LSTM",
      /recurrent.*write the cell as Linear layers/,
      [7, 2, 4],
      (b, x) =>
        b.op("LSTM", [x, b.weight("w", [1, 20, 4]), b.weight("r", [1, 20, 5])], "y", { hidden_size: 5 }),
    ],
    [
      "GRU",
      /recurrent/,
      [7, 2, 4],
      (b, x) =>
        b.op("GRU", [x, b.weight("w", [1, 15, 4]), b.weight("r", [1, 15, 5])], "y", { hidden_size: 5 }),
    ],
    [
      "RNN",
      /recurrent/,
      [7, 2, 4],
      (b, x) => b.op("RNN", [x, b.weight("w", [1, 5, 4]), b.weight("r", [1, 5, 5])], "y", { hidden_size: 5 }),
    ],
    [
      "Einsum",
      /write it as MatMul/,
      ["N", 4],
      (b, x) => b.op("Einsum", [x, b.weight("w", [4, 3])], "y", { equation: "nc,ck->nk" }),
    ],
    [
      "com.microsoft.FusedConv",
      /fused with Relu .*"basic"/,
      ["N", 4, 5, 5],
      (b, x) =>
        b.op("FusedConv", [x, b.weight("w", [6, 4, 3, 3])], "y", { activation: "Relu" }, "com.microsoft"),
    ],
    [
      "com.microsoft.FusedGemm",
      /fused with Tanh/,
      ["N", 4],
      (b, x) =>
        b.op(
          "FusedGemm",
          [x, b.weight("w", [4, 3]), b.weight("bias", [3])],
          "y",
          { activation: "Tanh" },
          "com.microsoft",
        ),
    ],
    [
      "ai.onnx.ml.LinearRegressor",
      /attributes of the operator/,
      ["N", 2],
      (b, x) =>
        b.op("LinearRegressor", [x], "y", { coefficients: [0.5, 1.5, 2.5, 3.5], targets: 2 }, "ai.onnx.ml"),
    ],
  ])("%s is named, with what helps", async (op, reason, input, build) => {
    const b = new GraphBuilder(18, { "com.microsoft": 1, "ai.onnx.ml": 3 });
    b.output(build(b, b.input("x", input)));
    await inferShapes(b.graph, nodeProbe);
    const { sites, skipped } = findSites(b.graph);
    expect(sites).toEqual([]);
    expect(skipped).toEqual([{ name: "y", op, reason: expect.stringMatching(reason) }]);
  });

  test("integer products and the products of an injected block are no layers", async () => {
    const { sites, skipped } = await sitesOf(["N", 4], (b, x) => {
      const w = b.graph.addInitializer(Tensor.of("w", "uint8", [4, 3], new Uint8Array(12)));
      const bytes = b.op("Cast", [x], "bytes", { to: 2 });
      b.output(b.op("MatMulInteger", [bytes, w], "y"));
      return b.op("MatMul", [x, b.weight("v", [4, 4])], "sorth/gram");
    });
    expect(sites).toEqual([]);
    expect(skipped).toMatchObject([
      { name: "y", op: "MatMulInteger", reason: expect.stringMatching(/before it was quantized/) },
    ]);
  });

  test("the shape of the response is not known", async () => {
    const { skipped } = await sitesOf([3, 4], (b, x) => {
      const rows = b.op(
        "Compress",
        [
          x,
          b.op("Cast", [b.op("ReduceMax", [x, b.int64("axes", [1])], "max", { keepdims: 0 })], "keep", {
            to: 9,
          }),
        ],
        "rows",
        { axis: 0 },
      );
      return b.op("Gemm", [rows, b.weight("w", [4, 5])], "y");
    });
    expect(skipped).toEqual([
      { name: "y", op: "Gemm", reason: 'the shape of its response "y" is not known before the model runs' },
    ]);
  });

  test("layers inside bodies and functions", async () => {
    const b = new GraphBuilder(18, { local: 1 });
    const x = b.input("x", ["N", 4]);
    b.weight("w", [4, 5]);
    const branch = (node: onnx.NodeProto.$Properties): onnx.GraphProto =>
      new onnx.GraphProto({
        name: "branch",
        node: [node],
        output: [new onnx.ValueInfoProto({ name: node.output?.[0] ?? "" })],
      });
    b.graph.addNode({
      opType: "If",
      name: "choice",
      inputs: [b.input("flag", [], "bool")],
      outputs: ["y"],
      attributes: new Map([
        [
          "then_branch",
          {
            kind: "graph",
            value: branch({ opType: "MatMul", name: "inner", input: ["x", "w"], output: ["a"] }),
          },
        ],
        [
          "else_branch",
          { kind: "graph", value: branch({ opType: "MatMul", input: ["x", "x"], output: ["b"] }) },
        ],
      ]),
      captures: [x, b.graph.valueNamed("w")],
    });
    const { opsetImport } = new onnx.ModelProto({ opsetImport: [{ domain: "" }] });
    b.graph.functions.push({
      ...{ name: "Dense", domain: "local", input: ["a", "w"], output: ["b"], opsetImport },
      node: [{ opType: "Gemm", name: "dense", input: ["a", "w"], output: ["b"] }],
    });
    b.output(b.op("Dense", [x, b.weight("v", [4, 5])], "z", {}, "local"), b.graph.valueNamed("y"));
    expect(findSites(b.graph, { hidden: hiddenLayers(b.graph) }).skipped).toEqual([
      {
        name: "inner",
        op: "MatMul",
        reason: expect.stringContaining('it lies in a body of the If "choice"'),
      },
      { name: "dense", op: "Gemm", reason: expect.stringContaining('function local.Dense, called by "z"') },
    ]);
  });
});
