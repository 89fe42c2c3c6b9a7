import { describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import type { Site } from "../../src/analysis/site-types.ts";
import { findSites } from "../../src/analysis/sites.ts";
import type { Value } from "../../src/graph/node.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { type Build, sitesOf } from "./sites-of.ts";

const summary = (site: Site | undefined) =>
  site && {
    ...{ op: site.op, units: site.units, fanIn: site.fanIn, groups: site.groups, axis: site.unitAxis },
    ...{ rows: site.rows, weight: site.weight.name, bias: site.bias?.name, response: site.response.name },
  };

describe("Gemm", () => {
  const gemm = { op: "Gemm", groups: 1, weight: "w", bias: undefined, response: "y" };

  test.each([
    { dims: [4, 7], attributes: {}, fanIn: 4 },
    { dims: [7, 4], attributes: { transB: 1 }, fanIn: 4 },
  ])("weight on the right: $dims $attributes", async ({ dims, attributes }) => {
    const { sites } = await sitesOf(["N", 4], (b, x) =>
      b.op("Gemm", [x, b.weight("w", dims), b.weight("bias", [7])], "y", attributes),
    );
    expect(sites.map(summary)).toEqual([{ ...gemm, units: 7, fanIn: 4, axis: 1, rows: 5, bias: "bias" }]);
    expect(sites[0]).toMatchObject({ rowsFixed: false, quantized: false, name: "y" });
  });

  test.each([
    { dims: [7, 4], attributes: { transB: 1 } },
    { dims: [4, 7], attributes: { transA: 1, transB: 1 } },
  ])("weight on the left: units on axis 0: $dims $attributes", async ({ dims, attributes }) => {
    const { sites } = await sitesOf(["N", 4], (b, x) =>
      b.op("Gemm", [b.weight("w", dims), x], "y", attributes),
    );
    expect(sites.map(summary)).toEqual([{ ...gemm, units: 7, fanIn: 4, axis: 0, rows: 5 }]);
  });

  test("a computed third operand is no bias", async () => {
    const { sites } = await sitesOf(["N", 4], (b, x) =>
      b.op("Gemm", [x, b.weight("w", [4, 4]), b.op("Relu", [x], "r")], "y"),
    );
    expect(sites.map(summary)).toMatchObject([{ ...gemm, units: 4 }]);
  });
});

describe("convolutions", () => {
  test.each([
    { rank: 1, input: ["N", 6, 9], kernel: [8, 6, 3], rows: 5 * 7, fanIn: 18, group: 1 },
    { rank: 2, input: ["N", 6, 9, 8], kernel: [8, 6, 3, 3], rows: 5 * 7 * 6, fanIn: 54, group: 1 },
    { rank: 3, input: ["N", 6, 5, 5, 5], kernel: [8, 6, 3, 3, 3], rows: 5 * 27, fanIn: 162, group: 1 },
    { rank: 2, input: ["N", 6, 9, 8], kernel: [8, 3, 1, 1], rows: 5 * 72, fanIn: 3, group: 2 },
    {
      rank: 1,
      input: ["N", 4, 9],
      kernel: [8, 1, 1],
      rows: 5 * 9,
      fanIn: 1,
      group: 4,
      note: "channel multiplier 2",
    },
  ])("Conv $rank-D, $group groups", async ({ input, kernel, rows, fanIn, group }) => {
    const { sites } = await sitesOf(input, (b, x) =>
      b.op("Conv", [x, b.weight("w", kernel), b.weight("bias", [8])], "y", { group }),
    );
    expect(sites.map(summary)).toEqual([
      { op: "Conv", units: 8, fanIn, groups: group, axis: 1, rows, weight: "w", bias: "bias", response: "y" },
    ]);
  });

  test("ConvTranspose: units are the second axis of the weight, within each group", async () => {
    const { sites } = await sitesOf(["N", 6, 4, 4], (b, x) =>
      b.op("ConvTranspose", [x, b.weight("w", [6, 4, 2, 2])], "y", { group: 2, strides: [2, 2] }),
    );
    expect(sites.map(summary)).toEqual([
      {
        ...{ op: "ConvTranspose", units: 8, fanIn: 3 * 4, groups: 2, axis: 1, rows: 5 * 64 },
        ...{ weight: "w", bias: undefined, response: "y" },
      },
    ]);
  });
});

describe("MatMul", () => {
  const matMul = { op: "MatMul", groups: 1, weight: "w", bias: undefined, response: "y" };

  test("weight on the right of activations of any rank", async () => {
    const { sites } = await sitesOf(["N", 3, 4], (b, x) => b.op("MatMul", [x, b.weight("w", [4, 7])], "y"));
    expect(sites.map(summary)).toEqual([{ ...matMul, units: 7, fanIn: 4, axis: 2, rows: 15 }]);
  });

  test("weight on the left: units on axis −2", async () => {
    const { sites } = await sitesOf(["N", 4, 6], (b, x) => b.op("MatMul", [b.weight("w", [7, 4]), x], "y"));
    expect(sites.map(summary)).toEqual([{ ...matMul, units: 7, fanIn: 4, axis: 1, rows: 30 }]);
  });

  test.each([
    { dims: [7], swapped: false },
    { dims: [1, 7], swapped: true },
    { dims: [1, 1, 7], swapped: false },
    // Keras's own exporter casts to the type that a value has.
    { dims: [7], swapped: false, cast: true },
  ])("with the Add of a bias of shape $dims the Add's output is the response", async (one) => {
    const { dims, swapped, cast } = one;
    const { sites } = await sitesOf(["N", 3, 4], (b, x) => {
      const product = b.op("MatMul", [x, b.weight("w", [4, 7])], "product");
      const operands = [cast ? b.op("Cast", [product], "same", { to: 1 }) : product, b.weight("bias", dims)];
      return b.op("Add", swapped ? operands.reverse() : operands, "y");
    });
    expect(sites.map(summary)).toEqual([{ ...matMul, units: 7, fanIn: 4, axis: 2, rows: 15, bias: "bias" }]);
    expect(sites[0]?.name).toBe("product");
  });

  test("on the left the bias is a column", async () => {
    const { sites } = await sitesOf(["N", 4, 7], (b, x) => {
      const product = b.op("MatMul", [b.weight("w", [7, 4]), x], "product");
      return b.op("Add", [product, b.weight("bias", [7, 1])], "y");
    });
    expect(sites.map(summary)).toMatchObject([{ bias: "bias", response: "y", axis: 1 }]);
  });

  test.each<[string, Build]>([
    [
      "the product has another reader",
      (b, x) => b.op("Mul", [add(b, x, [7]), b.graph.valueNamed("product")], "z"),
    ],
    ["the product is an output", (b, x) => outputProduct(b, x)],
    ["the other operand is a row for each position", (b, x) => add(b, x, [3, 7])],
    ["the other operand is a number for each row", (b, x) => add(b, x, [3, 1])],
    ["the other operand raises the rank", (b, x) => add(b, x, [1, 1, 1, 7])],
    [
      "the other operand is an activation",
      (b, x) =>
        addOf(
          b,
          x,
          b.op("ReduceMax", [b.op("MatMul", [x, b.weight("v", [4, 7])], "o"), b.int64("axes", [0, 1])], "m", {
            keepdims: 0,
          }),
        ),
    ],
  ])("no bias when %s", async (_, build) => {
    const { sites } = await sitesOf(["N", 3, 4], build);
    expect(sites.find((site) => site.weight.name === "w")).toMatchObject({
      bias: undefined,
      response: { name: "product" },
    });
  });

  const addOf = (b: GraphBuilder, x: Value, other: Value) =>
    b.op("Add", [b.op("MatMul", [x, b.weight("w", [4, 7])], "product"), other], "y");
  const add = (b: GraphBuilder, x: Value, dims: readonly number[]) => addOf(b, x, b.weight("bias", dims));
  const outputProduct = (b: GraphBuilder, x: Value) => {
    const y = add(b, x, [7]);
    b.output(b.graph.valueNamed("product"));
    return y;
  };
});

describe("weights are traced", () => {
  const chain: Record<string, Build> = {
    Transpose: (b) => b.op("Transpose", [b.weight("w", [7, 4])], "t", { perm: [1, 0] }),
    Identity: (b) => b.op("Identity", [b.weight("w", [4, 7])], "t"),
    Reshape: (b) => b.op("Reshape", [b.weight("w", [28]), b.int64("shape", [4, 7])], "t"),
    Cast: (b) => b.op("Cast", [half(b)], "t", { to: 1 }),
    Constant: (b) => b.op("Constant", [], "w", { value: Tensor.float("", [4, 7], new Float32Array(28)) }),
    "Identity of Transpose": (b) =>
      b.op("Identity", [b.op("Transpose", [b.weight("w", [7, 4])], "t", { perm: [1, 0] })], "i"),
  };
  const half = (b: GraphBuilder) =>
    b.graph.addInitializer(Tensor.of("w", "float16", [4, 7], new Uint16Array(28)));

  test.each(Object.entries(chain))("through %s", async (_, weight) => {
    const { sites } = await sitesOf(["N", 4], (b, x) => b.op("MatMul", [x, weight(b, x)], "y"));
    expect(sites.map(summary)).toMatchObject([{ units: 7, fanIn: 4, weight: "w" }]);
    expect(sites[0]?.quantized).toBe(false);
  });

  test.each(["stored as int8", "quantized on the way"])("through DequantizeLinear, %s", async (kind) => {
    const { sites } = await sitesOf(["N", 4], (b, x) => {
      const scale = b.graph.addInitializer(Tensor.float("scale", [], [0.1]));
      const zero = b.graph.addInitializer(Tensor.of("zero", "int8", [], new Int8Array(1)));
      const quantized =
        kind === "stored as int8"
          ? b.graph.addInitializer(Tensor.of("w", "int8", [4, 7], new Int8Array(28)))
          : b.op("QuantizeLinear", [b.weight("w", [4, 7]), scale, zero], "q");
      return b.op("MatMul", [x, b.op("DequantizeLinear", [quantized, scale, zero], "dq")], "y");
    });
    expect(sites.map(summary)).toMatchObject([{ units: 7, weight: "w" }]);
    expect(sites[0]?.quantized).toBe(true);
  });

  test("to a graph input that is a parameter, not to the data", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", [8, 4]);
    const y = b.op("MatMul", [x, b.input("fc.weight", [4, 7])], "y");
    // Data too: it starts with the batch.
    const other = b.input("other", [8, 7]);
    b.output(b.op("Gemm", [y, other], "attention", { transB: 1 }));
    await inferShapes(b.graph, nodeProbe, {});
    const { sites, skipped } = findSites(b.graph);
    expect(sites.map(summary)).toMatchObject([{ weight: "fc.weight", units: 7, rows: 8 }]);
    expect(skipped).toEqual([{ name: "attention", op: "Gemm", reason: "no operand is a parameter" }]);
  });
});

describe("rows", () => {
  test("fixed by the model when its batch is, or when a layer does not see the batch", async () => {
    const { sites: fixed } = await sitesOf([6, 4], (b, x) => b.op("MatMul", [x, b.weight("w", [4, 7])], "y"));
    expect(fixed).toMatchObject([{ rows: 6, rowsFixed: true }]);
    const { sites: pooled } = await sitesOf(["N", 3, 4], (b, x) =>
      b.op(
        "MatMul",
        [b.op("ReduceMean", [x, b.int64("axes", [0])], "mean", { keepdims: 0 }), b.weight("w", [4, 7])],
        "y",
      ),
    );
    expect(pooled).toMatchObject([{ rows: 3, rowsFixed: true }]);
  });
});

test("a single row is no reason to skip a layer: its weights have angles", async () => {
  const gemm = await sitesOf([1, 4], (b, x) => b.op("Gemm", [x, b.weight("w", [4, 3])], "y"));
  expect(gemm.sites).toMatchObject([{ rows: 1, rowsFixed: true, units: 3 }]);
  const vector = await sitesOf([4], (b, x) => b.op("MatMul", [x, b.weight("w", [4, 3])], "y"));
  expect(vector.sites).toMatchObject([{ rows: 1, rowsFixed: true, units: 3 }]);
});

describe("computed weights", () => {
  test("of weight_norm: the response is that of a layer, the weight the parameter of its size", async () => {
    const { sites } = await sitesOf(["N", 4], (b, x) => {
      const [g, v] = [b.weight("g", [3, 1]), b.weight("v", [3, 4])];
      const norm = b.op("ReduceL2", [v, b.int64("axes", [1])], "norm");
      const w = b.op("Mul", [v, b.op("Div", [g, norm], "factor")], "w");
      return b.op("Gemm", [x, w], "y", { transB: 1 });
    });
    expect(sites.map(summary)).toMatchObject([{ units: 3, fanIn: 4, weight: "v" }]);
    expect(sites[0]?.quantized).toBe(false);
  });

  test("of integers times a scale: quantized", async () => {
    const { sites } = await sitesOf(["N", 4], (b, x) => {
      const bytes = b.graph.addInitializer(Tensor.of("w8", "int8", [4, 3], new Int8Array(12)));
      const w = b.op("Mul", [b.op("Cast", [bytes], "wide", { to: 1 }), b.weight("scale", [1, 3])], "w");
      return b.op("MatMul", [x, w], "y");
    });
    expect(sites).toMatchObject([{ units: 3, fanIn: 4, quantized: true, weight: { name: "w8" } }]);
  });

  test("of data: no layer", async () => {
    const { skipped } = await sitesOf([3, 3], (b, x) =>
      b.op("MatMul", [x, b.op("Mul", [x, b.weight("w", [3, 3])], "gated")], "y"),
    );
    expect(skipped).toEqual([{ name: "y", op: "MatMul", reason: "no operand is a parameter" }]);
  });
});
