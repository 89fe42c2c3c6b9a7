import { expect, test } from "vitest";
import type { Value } from "../../../src/graph/node.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { Model } from "../../../src/onnx/model.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { checkGradients, DoubleBuilder, doubles } from "./models.ts";

/** As classifiers on BART and T5 read their last token: the mask selects as many tokens in every sequence. */
test.each([
  ["last", -1],
  ["first", 0],
])(
  "the %s of the vectors that a mask selects has the numbers and gradients of the original",
  async (_, at) => {
    const b = new DoubleBuilder(17);
    const x = b.input("x", [2, 4, 3], "double");
    const places = b.op("NonZero", [b.input("mask", [2, 4], "bool")], "places");
    const turned = b.op("Transpose", [places], "turned", { perm: [1, 0] });
    const read = b.op("GatherND", [b.op("Tanh", [x], "hidden"), turned], "read");
    const rows = b.op("Reshape", [read, b.int64("shape", [2, -1, 3])], "rows");
    const y = b.op(
      "MatMul",
      [b.op("Gather", [rows, b.int64("at", at)], "one", { axis: 1 }), b.weight("w", [3, 2])],
      "y",
    );
    b.output(b.op("ReduceSum", [b.op("Mul", [y, y], "square")], "loss", { keepdims: 0 }));
    const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
    const mask = Tensor.of("mask", "bool", [2, 4], Uint8Array.of(0, 1, 1, 0, 1, 0, 0, 1));
    expect(await checkGradients(model, { x: doubles("x", [2, 4, 3]), mask }, { wrtInputs: /x/ })).toEqual([
      "w",
      "x",
    ]);
  },
);

/** What is placed, and the mask: of numbers, or of whole rows. */
interface Places {
  readonly rows: (b: DoubleBuilder, turned: Value) => Value;
  readonly mask: (b: DoubleBuilder) => Value;
}

/** The first of `rows` in the places of a mask, as both of PyTorch's exporters write masked_scatter. */
const first = (rows: readonly number[]) => (b: DoubleBuilder, turned: Value) => {
  const flat = b.op(
    "Reshape",
    [b.op("Tanh", [b.input("rows", rows, "double")], "bent"), b.int64("flat", [-1])],
    "flat rows",
  );
  const zero = b.int64("zero", [0]);
  return b.op(
    "Slice",
    [flat, zero, b.op("Gather", [b.op("Shape", [turned], "size"), zero], "count"), zero],
    "first",
  );
};
const ofRows = (b: DoubleBuilder) => b.input("mask", [2, 4], "bool");
const everywhere = (b: DoubleBuilder) =>
  b.op(
    "Expand",
    [b.op("Unsqueeze", [ofRows(b), b.int64("last", [-1])], "wide"), b.int64("all", [2, 4, 3])],
    "everywhere",
  );

/** A row for each of the places that the data choose. */
function repeated(b: DoubleBuilder): Value {
  const mask = b.graph.value("mask") as Value;
  const whole = b.op("Cast", [b.op("Reshape", [mask, b.int64("all of it", [-1])], "flat mask")], "ones", {
    to: 7,
  });
  const shape = b.op(
    "Concat",
    [b.op("ReduceSum", [whole], "count", { keepdims: 1 }), b.int64("width", [3])],
    "row by row",
    { axis: 0 },
  );
  return b.op("Expand", [b.input("rows", [3], "double"), shape], "filled");
}

test.each<[string, Places]>([
  ["as many rows as places", { rows: first([4, 3]), mask: everywhere }],
  ["more rows than places", { rows: first([6, 3]), mask: everywhere }],
  ["numbers that fill no rows", { rows: first([7, 2]), mask: everywhere }],
  ["rows as they are", { rows: (b) => b.input("rows", [4, 3], "double"), mask: ofRows }],
  [
    "one number",
    {
      rows: (b, turned) => {
        const count = b.op(
          "Slice",
          [b.op("Shape", [turned], "size"), b.int64("zero", [0]), b.int64("one", [1])],
          "count",
        );
        return b.op("Expand", [b.input("rows", [], "double"), count], "filled");
      },
      mask: everywhere,
    },
  ],
  // As the default exporter writes h[mask] = token.
  [
    "one row, in a line",
    { rows: (b) => b.op("Reshape", [repeated(b), b.int64("line", [-1])], "in a line"), mask: everywhere },
  ],
  ["one row", { rows: repeated, mask: ofRows }],
])(
  "ScatterND in the places of a mask, %s: the numbers and gradients of the original",
  async (_, { rows, mask }) => {
    const b = new DoubleBuilder(17);
    const x = b.op("Tanh", [b.input("x", [2, 4, 3], "double")], "hidden");
    const turned = b.op("Transpose", [b.op("NonZero", [mask(b)], "places")], "turned", { perm: [1, 0] });
    const placed = b.op("ScatterND", [x, turned, rows(b, turned)], "placed");
    const y = b.op("MatMul", [placed, b.weight("w", [3, 2])], "y");
    b.output(b.op("ReduceSum", [b.op("Mul", [y, y], "square")], "loss", { keepdims: 0 }));
    const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
    const chosen = Tensor.of("mask", "bool", [2, 4], Uint8Array.of(0, 1, 1, 0, 1, 0, 0, 1));
    const fed = b.graph.inputs.find(({ name }) => name === "rows");
    const data = {
      x: doubles("x", [2, 4, 3]),
      rows: doubles("rows", (fed?.shape ?? []) as number[]),
      mask: chosen,
    };
    expect(await checkGradients(model, data, { wrtInputs: /^(x|rows)$/ })).toEqual(["w", "x", "rows"]);
  },
);
