import { expect, test } from "vitest";
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
