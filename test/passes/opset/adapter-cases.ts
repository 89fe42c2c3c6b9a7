import Long from "long";
import type { Value } from "../../../src/graph/node.ts";
import { onnx } from "../../../src/onnx/schema.js";
import { Tensor } from "../../../src/onnx/tensor.ts";
import type { GraphBuilder } from "../../helpers/build-graph.ts";

/** Adds the nodes of a case, which reads `x`, and returns its outputs. */
export type Build = (b: GraphBuilder, x: Value) => Value | readonly Value[];

/** A small graph of an older opset. */
export interface RaiseCase {
  readonly name: string;
  readonly opset: number;
  /** Shape of `x`, floats between −1 and 1. */
  readonly shape: readonly number[];
  readonly build: Build;
  /** Operators after raising; left out where they stay. */
  readonly becomes?: readonly string[];
  /** Whether types and shapes are known before raising; default true. */
  readonly inferred?: boolean;
  /** How far the numbers may be apart; default 0. */
  readonly tolerance?: number;
}

export const scales = (b: GraphBuilder, values: readonly number[], name = "scales") =>
  b.graph.addInitializer(Tensor.float(name, [values.length], values));
export const statistics = (b: GraphBuilder) =>
  ["scale", "bias", "mean", "variance"].map((name) =>
    b.graph.addInitializer(
      Tensor.float(
        name,
        [3],
        [1.5, 2, 0.5].map((v, i) => v + i * name.length * 0.1),
      ),
    ),
  );
const indices = (b: GraphBuilder) => b.graph.addInitializer(Tensor.int64("i", [1, 2], [2, 0]));

const limit = (b: GraphBuilder, above: boolean) =>
  b.graph.addInitializer(Tensor.float("limit", [], [above ? 9 : -9]));
const { INT, INTS, GRAPH } = onnx.AttributeProto.AttributeType;
const list = (name: string, values: readonly number[]) => ({
  name,
  type: INTS,
  ints: values.map((v) => Long.fromNumber(v)),
});
const number = (name: string, value: number) => ({ name, type: INT, i: Long.fromNumber(value) });
/** A float by default; without a shape unless one is given. */
export const info = (name: string, elemType = 1, shape?: readonly number[]) =>
  new onnx.ValueInfoProto({
    name,
    type: {
      tensorType: {
        elemType,
        ...(shape ? { shape: { dim: shape.map((dim) => ({ dimValue: Long.fromNumber(dim) })) } } : {}),
      },
    },
  });

/** A branch of an If inside a body; it ends in `r`. */
const graph = (name: string, node: onnx.NodeProto.$Properties[]) => ({
  ...{ name, type: GRAPH },
  g: new onnx.GraphProto({ name, node, output: [info("r")] }),
});

/** A branch that ends in one operator on `s`. */
const branch = (
  opType: string,
  before: onnx.NodeProto.$Properties[],
  attribute: onnx.AttributeProto.$Properties[] = [],
) => ({
  kind: "graph" as const,
  value: new onnx.GraphProto({
    name: "branch",
    node: [...before, { opType, input: ["s"], output: ["result"], attribute }],
    output: [info("result")],
  }),
});

/** Nodes of older opsets that have to be rewritten. */
export const adapterCases: readonly RaiseCase[] = [
  ...[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
  ].map((op) => ({
    ...{ name: `${op} over axes`, opset: op === "ReduceSum" ? 12 : 17, shape: [2, 3, 4] },
    build: (b: GraphBuilder, x: Value) => b.op(op, [x], "y", { axes: [0, -1], keepdims: 0 }),
  })),
  {
    ...{ name: "ReduceLogSum over axes", opset: 13, shape: [2, 3] },
    build: (b, x) => b.op("ReduceLogSum", [b.op("Exp", [x], "e")], "y", { axes: [1] }),
  },
  { name: "ReduceMean over all", opset: 11, shape: [2, 3], build: (b, x) => b.op("ReduceMean", [x], "y") },
  {
    ...{ name: "Squeeze and Unsqueeze", opset: 11, shape: [2, 1, 3, 1] },
    build: (b, x) => b.op("Unsqueeze", [b.op("Squeeze", [x], "s", { axes: [1, -1] })], "y", { axes: [0, 2] }),
  },
  { name: "Squeeze of all", opset: 8, shape: [2, 1, 3], build: (b, x) => b.op("Squeeze", [x], "y") },
  ...["Softmax", "LogSoftmax", "Hardmax"].flatMap((op) => [
    {
      ...{ name: `${op} of the last axis`, opset: 12, shape: [3, 4] },
      build: (b: GraphBuilder, x: Value) => b.op(op, [x], "y"),
    },
    {
      ...{ name: `${op} that flattens`, opset: 12, shape: [2, 3, 4, 2] },
      build: (b: GraphBuilder, x: Value) => {
        const y = b.op(op, [x], "y", { axis: 2 });
        return [y, b.op("Neg", [y], "z")];
      },
      becomes: ["Flatten", op, "Shape", "Reshape", "Neg"],
    },
  ]),
  {
    ...{ name: "Split in sizes", opset: 11, shape: [5, 2] },
    build: (b, x) => b.many("Split", [x], ["a", "b"], { axis: 0, split: [2, 3] }) as Value[],
  },
  {
    ...{ name: "Split in equal parts", opset: 13, shape: [6, 2] },
    build: (b, x) => b.many("Split", [x], ["a", "b", "c"], { axis: 0 }) as Value[],
  },
  { name: "Dropout", opset: 11, shape: [3, 4], build: (b, x) => b.op("Dropout", [x], "y", { ratio: 0.25 }) },
  {
    name: "Dropout with an unread mask",
    opset: 7,
    shape: [3],
    build: (b, x) => b.many("Dropout", [x], ["y", "mask"])[0] as Value,
  },
  {
    ...{ name: "Clip on both sides", opset: 10, shape: [20] },
    build: (b, x) => b.op("Clip", [x], "y", { min: -0.25, max: 0.5 }),
  },
  { name: "Clip above", opset: 7, shape: [20], build: (b, x) => b.op("Clip", [x], "y", { max: 0.5 }) },
  {
    ...{ name: "Pad of doubles", opset: 7, shape: [3] },
    build: (b, x) => b.op("Pad", [b.op("Cast", [x], "c", { to: 11 })], "y", { pads: [1, 2], value: 0.1 }),
  },
  {
    ...{ name: "Pad with a number", opset: 10, shape: [2, 3] },
    build: (b, x) => b.op("Pad", [x], "y", { pads: [0, 1, 2, 0], value: 1.5 }),
  },
  {
    ...{ name: "Pad by reflection", opset: 8, shape: [4, 5] },
    build: (b, x) => b.op("Pad", [x], "y", { pads: [1, 2, 0, 1], mode: "reflect" }),
  },
  {
    ...{ name: "Slice of named axes", opset: 9, shape: [4, 5, 6] },
    build: (b, x) => b.op("Slice", [x], "y", { starts: [1, -3], ends: [3, 100], axes: [0, 2] }),
  },
  {
    name: "Slice of the first axes",
    opset: 7,
    shape: [4, 5],
    build: (b, x) => b.op("Slice", [x], "y", { starts: [1], ends: [3] }),
  },
  {
    name: "TopK",
    opset: 9,
    shape: [3, 6],
    build: (b, x) => b.many("TopK", [x], ["v", "i"], { k: 2, axis: 1 }) as Value[],
  },
  {
    ...{ name: "Upsample to the nearest", opset: 7, shape: [1, 2, 3, 4] },
    build: (b, x) =>
      b.op("Upsample", [x], "y", { mode: "nearest", scales: { kind: "floats", value: [1, 1, 2, 3] } }),
    becomes: ["Resize"],
  },
  {
    ...{ name: "Upsample, linear", opset: 9, shape: [1, 2, 3, 4] },
    build: (b, x) => b.op("Upsample", [x, scales(b, [1, 1, 2, 2])], "y", { mode: "linear" }),
    becomes: ["Resize"],
  },
  {
    ...{ name: "Resize of opset 10, enlarging", opset: 10, shape: [1, 2, 3, 4] },
    build: (b, x) => b.op("Resize", [x, scales(b, [1, 1, 2, 2])], "y"),
  },
  {
    ...{ name: "Resize of opset 10, shrinking", opset: 10, shape: [1, 1, 7, 9] },
    build: (b, x) => b.op("Resize", [x, scales(b, [1, 1, 0.6, 0.4])], "y"),
  },
  {
    ...{ name: "Resize of opset 10, linear", opset: 10, shape: [1, 1, 7, 9] },
    build: (b, x) => b.op("Resize", [x, scales(b, [1, 1, 0.6, 2])], "y", { mode: "linear" }),
  },
  {
    ...{ name: "Resize of opset 11", opset: 11, shape: [1, 1, 3, 4] },
    build: (b, x) =>
      b.op("Resize", [x, scales(b, [], "roi"), scales(b, [1, 1, 2, 2])], "y", { mode: "linear" }),
  },
  {
    ...{ name: "BatchNormalization for inference", opset: 8, shape: [2, 3, 4] },
    build: (b, x) => b.op("BatchNormalization", [x, ...statistics(b)], "y", { epsilon: 0.01 }),
  },
  {
    ...{ name: "Scatter", opset: 9, shape: [3, 3] },
    build: (b, x) => b.op("Scatter", [x, indices(b), b.weight("u", [1, 2])], "y", { axis: 1 }),
    becomes: ["ScatterElements"],
  },
  {
    ...{ name: "RoiAlign", opset: 10, shape: [1, 2, 8, 8] },
    build: (b, x) => {
      const rois = b.graph.addInitializer(Tensor.float("rois", [1, 4], [1, 1.5, 6, 5]));
      return b.op("RoiAlign", [x, rois, b.int64("batch", [0])], "y", { output_height: 2, output_width: 2 });
    },
  },
  ...[[], [1], undefined].map((axes) => ({
    ...{ name: `ReduceMax over axes ${JSON.stringify(axes)}`, opset: 11, shape: [2, 3] },
    build: (b: GraphBuilder, x: Value) => b.op("ReduceMax", [x], "y", axes ? { axes } : {}),
  })),
  {
    ...{ name: "Squeeze over no axes", opset: 12, shape: [2, 1, 3] },
    build: (b, x) => b.op("Squeeze", [x], "y", { axes: [] }),
  },
  ...[0, 1, 2, 3, -1, -2, -4].flatMap((axis) =>
    ["Softmax", "Hardmax"].map((op) => ({
      ...{ name: `${op} from axis ${axis}, rank not known`, opset: 11, shape: [2, 3, 1, 4], inferred: false },
      build: (b: GraphBuilder, x: Value) => b.op(op, [b.op("Identity", [x], "i")], "y", { axis }),
      becomes: axis === -1 ? ["Identity", op] : ["Identity", "Flatten", op, "Shape", "Reshape"],
    })),
  ),
  {
    ...{ name: "LogSoftmax of a vector", opset: 11, shape: [5] },
    build: (b, x) => b.op("LogSoftmax", [x], "y", { axis: 0 }),
  },
  {
    // ONNX Runtime clips half floats in float32 and does not round in between.
    ...{ name: "Clip and Pad of half floats, type not known", opset: 10, shape: [20] },
    ...{ inferred: false, tolerance: 2 ** -11 },
    build: (b, x) => {
      const clipped = b.op("Clip", [b.op("Cast", [x], "c", { to: 10 })], "y", { min: -0.3, max: 0.4 });
      return b.op("Cast", [b.op("Pad", [clipped], "p", { pads: [1, 2], value: 0.1 })], "f", { to: 1 });
    },
    becomes: ["Cast", "CastLike", "CastLike", "Clip", "CastLike", "Pad", "Cast"],
  },
  {
    ...{ name: "Clip of half floats", opset: 9, shape: [20], tolerance: 2 ** -11 },
    build: (b, x) =>
      b.op("Cast", [b.op("Clip", [b.op("Cast", [x], "c", { to: 10 })], "y", { min: -0.3 })], "f", { to: 1 }),
    becomes: ["Cast", "Cast", "Clip", "Cast"],
  },
  {
    ...{ name: "Split without sizes along the last axis", opset: 7, shape: [2, 6] },
    build: (b, x) => b.many("Split", [x], ["a", "b"], { axis: -1 }) as Value[],
  },
  {
    name: "TopK of the last axis",
    opset: 8,
    shape: [2, 5],
    build: (b, x) => b.many("TopK", [x], ["v", "i"], { k: 3 }) as Value[],
  },
  {
    ...{ name: "Pad at the edge, cutting", opset: 9, shape: [4, 5] },
    build: (b, x) => b.op("Pad", [x], "y", { pads: [-1, 2, 0, 1], mode: "edge" }),
  },
  ...[
    [1, 1, 2, 3],
    [1, 1, 0.5, 0.7],
    [1, 1, 1.7, 0.6],
  ].flatMap((values) =>
    [11, 12].map((opset) => ({
      ...{ name: `Resize as TensorFlow, half pixels, by ${values}`, opset, shape: [1, 1, 7, 6] },
      build: (b: GraphBuilder, x: Value) =>
        b.op("Resize", [x, scales(b, [], "roi"), scales(b, values)], "y", {
          ...{ mode: "nearest", nearest_mode: "floor" },
          coordinate_transformation_mode: "tf_half_pixel_for_nn",
        }),
    })),
  ),
  {
    ...{ name: "ScatterElements, default axis of Scatter", opset: 10, shape: [3, 3] },
    build: (b, x) => b.op("Scatter", [x, indices(b), b.weight("u", [1, 2])], "y"),
    becomes: ["ScatterElements"],
  },
  ...[true, false].map((taken) => ({
    ...{ name: `branches of If that flatten and squeeze (${taken})`, opset: 12, shape: [2, 1, 3] },
    build: (b: GraphBuilder, x: Value) => {
      const condition = b.op("Less", [b.op("ReduceMin", [x], "m", { keepdims: 0 }), limit(b, taken)], "less");
      const squeeze = { opType: "Squeeze", input: ["x"], output: ["s"], attribute: [list("axes", [1])] };
      return b.op("If", [condition], "y", {
        then_branch: branch("Softmax", [squeeze]),
        else_branch: branch("ReduceMean", [squeeze], [list("axes", [0]), number("keepdims", 1)]),
      });
    },
  })),
  {
    ...{ name: "a Loop around an If that clips or slices", opset: 9, shape: [2, 3] },
    build: (b, x) => {
      const clip = {
        ...{ opType: "Clip", name: "clip", input: ["h"], output: ["r"] },
        attribute: [{ name: "max", type: onnx.AttributeProto.AttributeType.FLOAT, f: 0.2 }],
      };
      const slice = {
        ...{ opType: "Slice", input: ["x"], output: ["r"] },
        attribute: [list("starts", [0]), list("ends", [2]), list("axes", [0])],
      };
      const body = new onnx.GraphProto({
        name: "body",
        input: [info("i", 7, []), info("go", 9, []), info("h")],
        node: [
          {
            ...{ opType: "If", input: ["go"], output: ["next"] },
            attribute: [graph("then_branch", [clip]), graph("else_branch", [slice])],
          },
          { opType: "Identity", input: ["go"], output: ["go.next"] },
        ],
        output: [info("go.next", 9), info("next")],
      });
      const condition = b.graph.addInitializer(Tensor.of("condition", "bool", [], Uint8Array.of(1)));
      return b.op("Loop", [b.int64("trips", 2), condition, x], "y", { body: { kind: "graph", value: body } });
    },
  },
];
