import type { Value } from "../../../src/graph/node.ts";
import { onnx } from "../../../src/onnx/schema.js";
import { Tensor } from "../../../src/onnx/tensor.ts";
import type { GraphBuilder } from "../../helpers/build-graph.ts";
import { info, type RaiseCase } from "./adapter-cases.ts";

/** Operators of one float input, with the first opset in which they are raised unchanged. */
const unary: Readonly<Record<string, number>> = {
  ...Object.fromEntries(
    [
      ...["Abs", "Acos", "Asin", "Atan", "Ceil", "Cos", "Elu", "Exp", "Floor", "HardSigmoid", "Identity"],
      ...["LeakyRelu", "Log", "Neg", "Reciprocal", "Relu", "Selu", "Shape", "Sigmoid", "Sin", "Size"],
      ...["Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "Transpose", "Flatten", "ArgMax", "ArgMin"],
      "LpNormalization",
    ].map((op) => [op, 7]),
  ),
  ...Object.fromEntries(
    ["Asinh", "Atanh", "Cosh", "Sinh", "Erf", "Sign", "IsNaN", "Shrink", "NonZero", "EyeLike"].map((op) => [
      op,
      9,
    ]),
  ),
  ...{ MeanVarianceNormalization: 9, ThresholdedRelu: 10, IsInf: 10, Round: 11, Celu: 12, HardSwish: 14 },
};

/** Operators of several float inputs of one shape. */
const broadcasting: Readonly<Record<string, number>> = {
  ...{ Add: 7, Sub: 7, Mul: 7, Div: 7, Pow: 7, PRelu: 7, Less: 7, Greater: 7, MatMul: 7 },
  ...{ Max: 8, Min: 8, Mean: 8, Sum: 8, Equal: 11, GreaterOrEqual: 12, LessOrEqual: 12 },
};

const floats = (b: GraphBuilder, name: string, dims: readonly number[], values: readonly number[]) =>
  b.graph.addInitializer(Tensor.float(name, dims, values));
const integers = (b: GraphBuilder, name: string, dims: readonly number[], values: readonly number[]) =>
  b.graph.addInitializer(Tensor.int64(name, dims, values));

/** A case of one operator and no other. */
const one = (
  op: string,
  opset: number,
  shape: readonly number[],
  others: (b: GraphBuilder) => (Value | null)[] = () => [],
  attributes: Parameters<GraphBuilder["op"]>[3] = {},
  outputs = 1,
): RaiseCase => ({
  name: [op, ...Object.entries(attributes).map(([key, value]) => `${key}=${label(value)}`)].join(" "),
  ...{ opset, shape },
  build: (b, x) =>
    b.many(
      op,
      [x, ...others(b)],
      Array.from({ length: outputs }, (_, i) => `y${i}`),
      attributes,
    ) as Value[],
});

const label = (value: unknown): string =>
  typeof value === "object" && !Array.isArray(value) ? "…" : String(value);

/** Layers of windows, with what changed in their documents: ceil mode, paddings, dilations. */
const windows: readonly RaiseCase[] = [
  ...["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"].map((op) => one(op, 7, [2, 3, 4, 5])),
  one("Conv", 7, [1, 1, 7, 7], (b) => [b.weight("w", [2, 1, 3, 3])], {
    dilations: [2, 1],
    pads: [1, 0, 2, 1],
  }),
  one("Conv", 7, [1, 2, 7, 7], (b) => [b.weight("w", [4, 1, 3, 3]), b.weight("c", [4])], {
    ...{ group: 2, strides: [1, 2], auto_pad: "SAME_LOWER" },
  }),
  ...["SAME_UPPER", "SAME_LOWER", "VALID"].map((auto_pad) =>
    one("ConvTranspose", 7, [1, 2, 4, 4], (b) => [b.weight("w", [2, 3, 3, 3])], {
      auto_pad,
      strides: [2, 2],
    }),
  ),
  one("ConvTranspose", 7, [1, 2, 4, 4], (b) => [b.weight("w", [2, 3, 3, 3])], {
    ...{ strides: [3, 3], output_shape: [10, 11], output_padding: [1, 0] },
  }),
  ...[7, 10, 11].flatMap((opset) =>
    [0, 1].flatMap((count_include_pad) =>
      (opset < 10 ? [0] : [0, 1]).map((ceil_mode) =>
        one("AveragePool", opset, [1, 2, 8, 7], undefined, {
          ...{ kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 0], count_include_pad },
          ...(ceil_mode ? { ceil_mode } : {}),
        }),
      ),
    ),
  ),
  one("AveragePool", 7, [1, 1, 6, 5], undefined, {
    ...{ kernel_shape: [3, 2], strides: [2, 2], auto_pad: "SAME_LOWER" },
  }),
  one("MaxPool", 7, [1, 2, 7, 7], undefined, {
    kernel_shape: [3, 3],
    auto_pad: "SAME_UPPER",
    strides: [2, 2],
  }),
  one("MaxPool", 8, [1, 2, 7, 7], undefined, { kernel_shape: [3, 3], strides: [2, 2] }, 2),
  one("MaxPool", 10, [1, 2, 8, 8], undefined, {
    ...{ kernel_shape: [2, 2], strides: [3, 3], dilations: [2, 2], ceil_mode: 1 },
  }),
  one("LpPool", 7, [1, 2, 6, 6], undefined, { kernel_shape: [3, 3], p: 3, pads: [1, 1, 1, 1] }),
  one("LpPool", 11, [1, 2, 6, 6], undefined, { kernel_shape: [2, 2], auto_pad: "SAME_UPPER" }),
  one("LRN", 7, [1, 5, 3, 3], undefined, { size: 3 }),
  one("InstanceNormalization", 7, [2, 3, 4], (b) => [b.weight("s", [3]), b.weight("c", [3])]),
  one("DepthToSpace", 7, [1, 8, 2, 3], undefined, { blocksize: 2 }),
  one("SpaceToDepth", 7, [1, 2, 4, 6], undefined, { blocksize: 2 }),
  {
    ...{ name: "MaxUnpool", opset: 9, shape: [1, 1, 4, 4] },
    build: (b, x) => {
      const [y, i] = b.many("MaxPool", [x], ["p", "i"], { kernel_shape: [2, 2], strides: [2, 2] });
      return b.op("MaxUnpool", [y ?? null, i ?? null], "y", { kernel_shape: [2, 2], strides: [2, 2] });
    },
  },
];

/** Operators that move elements. */
const indexing: readonly RaiseCase[] = [
  one("Gather", 7, [4, 3], (b) => [integers(b, "i", [2], [3, 0])], { axis: 0 }),
  one("Gather", 11, [4, 3], (b) => [integers(b, "i", [1, 2], [-1, -3])], { axis: 1 }),
  one("GatherElements", 11, [2, 3], (b) => [integers(b, "i", [2, 1], [2, -1])], { axis: 1 }),
  one("GatherND", 11, [2, 3], (b) => [integers(b, "i", [2, 2], [1, 2, 0, 1])]),
  one("ScatterElements", 11, [3, 3], (b) => [integers(b, "i", [1, 2], [2, -3]), b.weight("u", [1, 2])]),
  one("ScatterND", 11, [3, 3], (b) => [integers(b, "i", [2, 1], [2, 0]), b.weight("u", [2, 3])]),
  one("Compress", 9, [3, 2], (b) => [
    b.graph.addInitializer(Tensor.of("c", "bool", [3], Uint8Array.of(1, 0, 1))),
  ]),
  one("Tile", 7, [2, 3], (b) => [b.int64("n", [2, 1])]),
  one("Expand", 8, [3, 1], (b) => [b.int64("n", [2, 1, 4])]),
  one("Concat", 7, [2, 3], (b) => [b.weight("c", [2, 1])], { axis: 1 }),
  one("Reshape", 7, [2, 6], (b) => [b.int64("n", [0, 2, -1])]),
  one("Transpose", 7, [2, 3, 4], undefined, { perm: [2, 0, 1] }),
  one("Flatten", 11, [2, 3, 4], undefined, { axis: -1 }),
  one("CumSum", 11, [2, 3], (b) => [b.int64("a", -1)], { reverse: 1 }),
  one("ReverseSequence", 10, [4, 2], (b) => [b.int64("n", [4, 2])]),
  one("TopK", 10, [3, 6], (b) => [b.int64("k", [2])], {}, 2),
  one("TopK", 11, [3, 6], (b) => [b.int64("k", [2])], { largest: 0, axis: 0, sorted: 1 }, 2),
  one("Unique", 11, [3, 2], undefined, { axis: 0 }, 4),
  one("Slice", 10, [4, 5], (b) => [
    ...[b.int64("s", [-1, 4]), b.int64("e", [-100, 0]), b.int64("a", [0, 1]), b.int64("t", [-1, -2])],
  ]),
  one("Einsum", 12, [2, 3], (b) => [b.weight("w", [3, 4])], { equation: "ij,jk->ki" }),
  one("Trilu", 14, [3, 3], undefined, { upper: 0 }),
  one("Cast", 7, [5], undefined, { to: 7 }),
  one("Cast", 9, [5], undefined, { to: 10 }),
  ...[9, 10].map((opset) => ({
    ...{ name: "OneHot of negative classes", opset, shape: [2] },
    build: (b: GraphBuilder, x: Value) => [
      b.op("OneHot", [integers(b, "i", [4], [0, 2, -1, 5]), b.int64("n", 3), x], "y"),
    ],
  })),
  {
    ...{ name: "ConstantOfShape", opset: 9, shape: [2, 3] },
    build: (b, x) => [
      b.op("ConstantOfShape", [b.op("Shape", [x], "s")], "y", { value: Tensor.float("v", [1], [2.5]) }),
    ],
  },
  {
    ...{ name: "Where of a comparison", opset: 9, shape: [2, 3] },
    build: (b, x) =>
      b.op("Where", [b.op("Less", [x, b.weight("p", [3])], "l"), x, b.weight("q", [2, 1])], "y"),
  },
  {
    ...{ name: "Not, And, Or, Xor", opset: 7, shape: [2, 3] },
    build: (b, x) => {
      const p = b.op("Less", [x, b.weight("p", [3])], "l");
      const q = b.op("Not", [b.op("Greater", [x, b.weight("q", [2, 1])], "g")], "n");
      return b.op("Xor", [b.op("And", [p, q], "a"), b.op("Or", [p, q], "o")], "y");
    },
  },
  {
    ...{ name: "NonMaxSuppression", opset: 10, shape: [1, 4, 4] },
    build: (b, x) => {
      const boxes = b.op("Abs", [x], "boxes");
      const limit = floats(b, "limit", [1], [0.5]);
      return b.op(
        "NonMaxSuppression",
        [boxes, b.weight("scores", [1, 2, 4]), b.int64("most", [3]), limit],
        "y",
      );
    },
  },
];

const gates = { RNN: 1, GRU: 3, LSTM: 4 };

/** Products, recurrent layers, quantization and losses. */
const layers: readonly RaiseCase[] = [
  one("Gemm", 7, [3, 2], (b) => [b.weight("w", [2, 4]), b.weight("c", [4])], { alpha: 0.5, beta: 1.5 }),
  one("Gemm", 11, [2, 3], (b) => [b.weight("w", [4, 2])], { transA: 1, transB: 1 }),
  ...Object.entries(gates).map(([op, gate]) =>
    one(
      op,
      7,
      [5, 2, 3],
      (b) => [b.weight("w", [2, 4 * gate, 3]), b.weight("r", [2, 4 * gate, 4]), b.weight("c", [2, 8 * gate])],
      { hidden_size: 4, direction: "bidirectional", ...(op === "GRU" ? { linear_before_reset: 1 } : {}) },
      2,
    ),
  ),
  one("QuantizeLinear", 10, [2, 3], (b) => [
    floats(b, "scale", [], [0.01]),
    b.graph.addInitializer(Tensor.of("zero", "uint8", [], Uint8Array.of(128))),
  ]),
  one("DynamicQuantizeLinear", 11, [2, 3], undefined, {}, 3),
  {
    ...{ name: "DequantizeLinear", opset: 10, shape: [2, 3] },
    build: (b, x) => {
      const scale = floats(b, "scale", [], [0.01]);
      return b.op("DequantizeLinear", [b.op("QuantizeLinear", [x, scale], "q"), scale], "y");
    },
  },
  ...["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"].map((op) =>
    one(op, 12, [3, 4], (b) => [integers(b, "labels", [3], [1, 3, 0]), b.weight("w", [4])], {
      ignore_index: 3,
      reduction: "mean",
    }),
  ),
];

const bools = (b: GraphBuilder, name: string) =>
  b.graph.addInitializer(Tensor.of(name, "bool", [], Uint8Array.of(1)));
/** Nodes with bodies in which nothing changed. */
const bodies: readonly RaiseCase[] = [
  {
    ...{ name: "Loop", opset: 7, shape: [2, 3] },
    build: (b, x) => {
      const body = new onnx.GraphProto({
        name: "body",
        input: [info("i", 7, []), info("go", 9, []), info("h", 1, [2, 3])],
        node: [
          { opType: "Tanh", input: ["h"], output: ["t"] },
          { opType: "Identity", input: ["go"], output: ["go.next"] },
        ],
        output: [info("go.next", 9), info("t")],
      });
      const condition = bools(b, "condition");
      return b.op("Loop", [b.int64("trips", [3]), condition, x], "y", {
        body: { kind: "graph", value: body },
      });
    },
  },
  {
    ...{ name: "Scan", opset: 9, shape: [4, 3] },
    build: (b, x) => {
      const body = new onnx.GraphProto({
        name: "body",
        input: [info("h"), info("row")],
        node: [
          { opType: "Add", input: ["h", "row"], output: ["sum"] },
          { opType: "Tanh", input: ["sum"], output: ["out"] },
        ],
        output: [info("sum"), info("out")],
      });
      return b.many("Scan", [b.weight("h0", [3]), x], ["y", "ys"], {
        ...{ num_scan_inputs: 1, body: { kind: "graph", value: body } },
      }) as Value[];
    },
  },
];

/** Nodes of older opsets that a newer one takes as they are: raised, they compute the same. */
export const keptForms: readonly RaiseCase[] = [
  ...Object.entries(unary).map(([op, opset]) => one(op, opset, [2, 3])),
  ...Object.entries(broadcasting).map(([op, opset]) =>
    one(op, opset, [3, 3], (b) => [b.weight("b", [3, 3])]),
  ),
  one("Acosh", 9, [3], undefined),
  one("Mod", 10, [4], (b) => [floats(b, "b", [4], [0.3, -0.2, 0.7, 0.1])], { fmod: 1 }),
  ...windows,
  ...indexing,
  ...layers,
  ...bodies,
];
