import { describe, expect, test } from "vitest";
import type { Value } from "../../../src/graph/node.ts";
import { differentiate } from "../../../src/index.ts";
import type { Model } from "../../../src/onnx/model.ts";
import { body, checkGradients, DoubleBuilder, doubles, loopInputs, operatorsOf } from "./models.ts";

const x = doubles("x", [4, 3]);

async function holds(model: Model, expected: readonly string[]): Promise<void> {
  expect(await checkGradients(model, { x }, { wrtInputs: /^x$/ })).toEqual(expected);
  const { model: gradient } = await differentiate(model, { loss: "loss" });
  expect(operatorsOf(gradient).filter((op) => /Sequence|Optional|Loop/.test(op))).toEqual([]);
}

const start = (opset = 18): [DoubleBuilder, Value] => {
  const b = new DoubleBuilder(opset);
  return [b, b.input("x", [4, 3], "double")];
};

describe("sequences", () => {
  test.each([18, 13, 11])(
    "split, gathered, put together again: constant positions, opset %i",
    async (opset) => {
      const [b, input] = start(opset);
      const w = b.weight("W.weight", [3, 3]);
      const parts = b.op("SplitToSequence", [input, b.int64("lengths", [1, 3])], "parts", { axis: 0 });
      const first = b.op("SequenceAt", [parts, b.int64("p0", 0)], "first");
      const last = b.op("SequenceAt", [parts, b.int64("p1", -1)], "last");
      const product = b.op("MatMul", [last, w], "product");
      const made = b.op("SequenceConstruct", [first, product], "made");
      const longer = b.op("SequenceInsert", [made, first, b.int64("p2", -1)], "longer");
      const joined = b.op("ConcatFromSequence", [longer], "joined", { axis: 0 });
      await holds(b.loss(joined), ["W.weight", "x"]);
    },
  );

  test("a list filled in a Loop, as torch.stack of a Python list is exported", async () => {
    const [b] = start();
    b.weight("W.weight", [3, 3]);
    const list = b.op(
      "Loop",
      [b.int64("n", 4), null, b.op("SequenceEmpty", [], "empty", { dtype: 11 })],
      "list",
      {
        body: body((l) => {
          const [trip, going] = loopInputs(l);
          const sequence = l.graph.addInput("sequence", undefined);
          const row = l.op("Gather", [l.outer("x"), trip], "row", { axis: 0 });
          const y = l.op("MatMul", [row, l.outer("W.weight")], "product");
          return [l.op("Identity", [going], "still"), l.op("SequenceInsert", [sequence, y], "grown")];
        }),
      },
    );
    // ONNX Runtime wants the type of a sequence that a body takes.
    const loop = list.producer;
    const attribute = loop?.attributes.get("body");
    if (attribute?.kind !== "graph") throw new Error("no body");
    const info = attribute.value.input?.find(({ name }) => name === "sequence");
    if (info) info.type = { sequenceType: { elemType: { tensorType: { elemType: 11 } } } };
    const stacked = b.op("ConcatFromSequence", [list], "stacked", { axis: 0, new_axis: 1 });
    await holds(b.loss(stacked), ["W.weight", "x"]);
  });

  test("pieces of one length, without their axis, counted and erased", async () => {
    const [b, input] = start();
    const pairs = b.op("SplitToSequence", [input, b.int64("three", 3)], "pairs", { axis: 0 });
    const columns = b.op("SplitToSequence", [input], "columns", { axis: 1, keepdims: 0 });
    const fewer = b.op("SequenceErase", [columns, b.int64("second", 1)], "fewer");
    const count = b.op("Cast", [b.op("SequenceLength", [fewer], "length")], "count", { to: 11 });
    const column = b.op("SequenceAt", [fewer, b.int64("one", 1)], "column");
    const piece = b.op("SequenceAt", [pairs, b.int64("end", 1)], "piece");
    const scaled = b.op(
      "Mul",
      [b.op("MatMul", [piece, b.weight("W.weight", [3, 4])], "product"), count],
      "scaled",
    );
    await holds(b.loss(b.op("Mul", [scaled, column], "y")), ["W.weight", "x"]);
  });

  test("SequenceMap over known elements", async () => {
    const [b, input] = start();
    b.weight("W.weight", [3, 3]);
    const rows = b.op("SplitToSequence", [input], "rows", { axis: 0 });
    const mapped = b.op("SequenceMap", [rows, b.numbers("scale", [3], [1, 2, 3])], "mapped", {
      body: body((m) => {
        const [row, scale] = [m.input("row", [1, 3], "double"), m.input("by", [3], "double")];
        const y = m.op("Mul", [m.op("MatMul", [row, m.outer("W.weight")], "product"), scale], "scaled");
        return [Object.assign(y, { type: "double", shape: [1, 3] })];
      }),
    });
    const y = b.op("ConcatFromSequence", [mapped], "y", { axis: 0 });
    await holds(b.loss(y), ["W.weight", "x"]);
  });

  test("an optional that holds a tensor", async () => {
    const [b, input] = start();
    const h = b.op("Mul", [input, b.weight("s.weight", [3])], "h");
    const optional = b.op("Optional", [h], "optional");
    const y = b.op("If", [b.op("OptionalHasElement", [optional], "has")], "y", {
      then_branch: body((t) => [t.op("OptionalGetElement", [t.outer("optional")], "element")]),
      else_branch: body((e) => [e.op("Exp", [e.outer("h")], "else_out")]),
    });
    await holds(b.loss(y), ["s.weight", "x"]);
  });

  test("a position from data is refused by name", async () => {
    const [b, input] = start();
    const h = b.op("Mul", [input, b.weight("s.weight", [3])], "h");
    const rows = b.op("SplitToSequence", [h], "rows", { axis: 0 });
    const y = b.op("SequenceAt", [rows, b.input("at", [], "int64")], "y");
    const model = b.loss(b.op("Reshape", [y, b.int64("shape", [1, 3])], "row"));
    await expect(differentiate(model, { loss: "loss" })).rejects.toThrow(
      'cannot differentiate SequenceAt (node "y"): its position "at" is computed from data',
    );
  });
});
