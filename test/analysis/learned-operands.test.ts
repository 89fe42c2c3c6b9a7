import { expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import type { GraphBuilder } from "../helpers/build-graph.ts";
import { verdict } from "./verdict.ts";

test.each<[string, (b: GraphBuilder, x: Value) => Value]>([
  [
    'weight: weight of DeformConv "y"',
    (b, x) => b.op("DeformConv", [x, b.weight("w", [4, 3, 1, 1]), b.weight("offset", [1])], "y"),
  ],
  [
    'operand: operand of ScatterND "y", by its place alone',
    (b, x) => b.op("ScatterND", [x, b.int64("places", [0]), b.weight("w", [1, 4])], "y"),
  ],
  [
    'operand: operand of ScatterElements "y", by its place alone',
    (b, x) => b.op("ScatterElements", [x, b.int64("places", [0]), b.weight("w", [1, 4])], "y"),
  ],
  [
    'operand: operand of GridSample "y", by its place alone',
    (b, x) => b.op("GridSample", [b.weight("w", [1, 2, 3, 3]), x], "y"),
  ],
  [
    'operand: operand of Attention "y", by its place alone',
    (b, x) => b.op("Attention", [b.weight("w", [1, 3, 4]), x, x], "y"),
  ],
])("%s", (expected, build) => {
  expect(verdict("w", build)).toBe(expected);
});

test("the bias of a layer that is called on stored positions, as the first of Swin V2's position biases", () => {
  const biased = (b: GraphBuilder, x: Value) => {
    const hidden = b.op("MatMul", [b.weight("table", [2, 3]), b.weight("w1", [3, 5])], "m");
    const active = b.op("Relu", [b.op("Add", [hidden, b.weight("bias", [5])], "a")], "r");
    return b.op(
      "Add",
      [x, b.op("Sigmoid", [b.op("MatMul", [active, b.weight("w2", [5, 4])], "n")], "s")],
      "y",
    );
  };
  expect(verdict("bias", biased)).toBe('bias: bias of Add "a"');
});

test.each(["Resize", "Pad"])("behind %s, which fits a parameter to the size of the data", (op) => {
  const fitted = (b: GraphBuilder, x: Value) => {
    const [pos, size] = [b.weight("pos", [1, 4]), b.op("Shape", [x], "size")];
    return b.op("Add", [x, b.op(op, op === "Pad" ? [pos, size] : [pos, null, null, size], "fitted")], "y");
  };
  expect(verdict("pos", fitted)).toBe('operand: operand of Add "y", by its place alone');
});

test("a number that ONNX Runtime's optimizer shares between operators is none", () => {
  const scaled = (b: GraphBuilder, x: Value) => {
    const y = b.op("Mul", [b.op("Tanh", [x], "t"), b.weight("ortshared_1_0_1_7_token_3", [])], "y");
    if (y.producer) y.producer.name = "/net/Mul";
    return y;
  };
  expect(verdict("ortshared_1_0_1_7_token_3", scaled)).toMatch(/but it is a single number$/);
});

// As PyTorch's default exporter folds a grid of affine_grid, the regions of a Swin's mask, the 0 of a ReLU6, and RT-DETR's anchors.
test.each([
  ["view_2", "['linspace', 'pad', 'pad_1', 'ones', 'view']", [2, 4]],
  ["val_1711", "['fill_18', 'shape_19', 'slice_252', 'val_1691', 'value_0_19']", [1, 4]],
  ["min_val_cast", "['min_val']", []],
  [
    "where",
    "['_to_copy_4', 'all_1', 'arange_3', 'copy_1', 'gt', 'log', 'select_scatter_12', 'stack_1', 'view_14']",
    [1, 4],
  ],
] as const)("%s, which the exporter computed from its own values alone, is none", (name, from, dims) => {
  const masked = (b: GraphBuilder, x: Value) => {
    const w = b.weight(name, dims);
    w.metadata = new Map([["pkg.onnxscript.optimizer.folded_from", from]]);
    return b.op("Where", [b.input("m", [2, 4], "bool"), w, b.op("Tanh", [x], "t")], "y");
  };
  expect(verdict(name, masked)).toBe('not: operand of Where "y", but it is an exporter\'s constant');
});

// As it folds CLIP's positions; a frozen normalization keeps its statistics out of training.
test.each([
  ["['position_ids', 'position_embedding.weight']", 'operand: operand of Add "y", named like a parameter'],
  ["['relative_coords_table', 'cpb_mlp.0.weight']", 'operand: operand of Add "y", named like a parameter'],
  ["['weight', 'running_var']", 'not: operand of Add "y", but its name is that of a mask, grid or statistic'],
])("what the exporter computed from %s", (from, expected) => {
  const added = (b: GraphBuilder, x: Value) => {
    const w = b.weight("val_2", [2, 4]);
    w.metadata = new Map([["pkg.onnxscript.optimizer.folded_from", from]]);
    return b.op("Add", [x, w], "y");
  };
  expect(verdict("val_2", added)).toBe(expected);
});

// As `dynamo=False` writes the positions of RT-DETR's encoder: positions × frequencies, by an outer product.
test.each([
  ["onnx::Einsum_982", 'not: weight of Einsum "y", but its numbers are evenly spaced'],
  ["omega", 'weight: weight of Einsum "y"'],
])(
  "frequencies that an Einsum multiplies with positions are none if the exporter named them: %s",
  (name, expected) => {
    const spread = (b: GraphBuilder, x: Value) => {
      const omega = Tensor.float(name, [4], [1, 0.1 ** 0.5, 0.1, 0.1 ** 1.5]);
      const positions = b.op("Reshape", [x, b.int64("flat", [-1])], "positions");
      return b.op("Einsum", [positions, b.graph.addInitializer(omega)], "y", { equation: "i,j->ij" });
    };
    expect(verdict(name, spread)).toBe(expected);
  },
);

// As the default exporter folds D-FINE's share of a point, 1 / points, from a buffer, and a fresh scale of a layer from a parameter.
test.each([
  ["['n.num_points_scale', 'val_1']", /^not: scale of Mul "y", but it is filled with one number/],
  ["['block.layer_scale', 'val_1']", /^scale: scale of Mul "y"/],
])("a factor behind a layer that is filled with one number, from %s", (from, expected) => {
  const scaled = (b: GraphBuilder, x: Value) => {
    const factor = b.graph.addInitializer(Tensor.float("unsqueeze_12", [4], [0.5, 0.5, 0.5, 0.5]));
    factor.metadata = new Map([["pkg.onnxscript.optimizer.folded_from", from]]);
    return b.op("Mul", [b.op("MatMul", [x, b.weight("w", [4, 4])], "h"), factor], "y");
  };
  expect(verdict("unsqueeze_12", scaled)).toMatch(expected);
});
