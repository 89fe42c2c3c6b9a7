import { describe, expect, it } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModel, freeBatch, Model } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { uniform } from "../helpers/lcg.ts";
import { runModel } from "../helpers/run-model.ts";

/** A model of x [1, ?, …] whose free lengths have the names in `shape`. */
function modelOf(shape: readonly (number | string)[], build: (b: GraphBuilder, x: Value) => Value): Model {
  const b = new GraphBuilder(18);
  b.graph.addOutput(build(b, b.input("x", shape)));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

/** Frees the batch, and compares one, two and three samples at once with the original, at other lengths than those of the check. */
async function compare(
  single: Model,
  dims: Readonly<Record<string, number>>,
  lengths: readonly (readonly number[])[],
) {
  const messages: string[] = [];
  const freed = await freeBatch(single, { dims, onMessage: (text) => messages.push(text) });
  for (const shape of lengths) {
    const size = shape.reduce((a, b) => a * b, 1);
    for (const count of [1, 2, 3]) {
      const all = uniform(`lengths ${count}`, count * size);
      const run = async (model: Model, from: number, samples: number) => {
        const x = Tensor.float("x", [samples, ...shape], all.slice(from * size, (from + samples) * size));
        return Object.values(await runModel(encodeModel(model), { x }))[0] as Tensor;
      };
      const together = await run(freed, 0, count);
      const apart = await Promise.all([...Array(count).keys()].map((sample) => run(single, sample, 1)));
      expect(together.numbers()).toEqual(apart.flatMap((one) => [...one.numbers()]));
    }
  }
  return messages;
}

/** The length of x on an axis, as a vector of one number. */
const lengthOf = (b: GraphBuilder, x: Value, axis: number): Value =>
  b.op("Gather", [b.op("Shape", [x], `shape ${axis}`), b.int64(`axis ${axis}`, [axis])], `length ${axis}`);

describe("a length that the file leaves free stays free", () => {
  const heads = { allowzero: 1 };

  it("beside the heads of an attention, where another length is open already", async () => {
    const single = modelOf([1, "tokens", 6], (b, x) => {
      const split = b.op("Reshape", [x, b.int64("split", [1, -1, 2, 3])], "heads", heads);
      const turned = b.op("Transpose", [split], "turned", { perm: [0, 2, 1, 3] });
      const scores = b.op("MatMul", [turned, b.op("Transpose", [turned], "t", { perm: [0, 1, 3, 2] })], "s");
      const mixed = b.op("Transpose", [b.op("MatMul", [scores, turned], "m")], "back", {
        perm: [0, 2, 1, 3],
      });
      return b.op("Reshape", [mixed, b.int64("joined", [1, -1, 6])], "y", heads);
    });
    const messages = await compare(single, { tokens: 4 }, [
      [4, 6],
      [5, 6],
      [9, 6],
    ]);
    expect(messages[1]).toMatch(/^checked: 3 random samples at once .*, also at tokens=5$/);
  });

  it("behind heads that are merged with the samples", async () => {
    const single = modelOf([1, 2, "tokens", 4], (b, x) => {
      const merged = b.op("Reshape", [x, b.int64("heads", [2, -1, 4])], "merged");
      const scores = b.op("MatMul", [merged, b.op("Transpose", [merged], "t", { perm: [0, 2, 1] })], "s");
      return b.op("Reshape", [b.op("MatMul", [scores, merged], "m"), b.int64("apart", [1, 2, -1, 4])], "y");
    });
    await compare(single, { tokens: 3 }, [
      [2, 3, 4],
      [2, 7, 4],
    ]);
  });

  it("in a shape that is joined when the model runs", async () => {
    const single = modelOf([1, "tokens", 6], (b, x) => {
      const shape = b.op("Concat", [b.int64("one", [1]), lengthOf(b, x, 1), b.int64("rest", [2, 3])], "to", {
        axis: 0,
      });
      return b.op("Softmax", [b.op("Reshape", [x, shape], "heads")], "y", { axis: 1 });
    });
    await compare(single, { tokens: 4 }, [
      [4, 6],
      [7, 6],
    ]);
  });

  it("in the sizes of a Resize", async () => {
    const single = modelOf([1, 2, "height", 3], (b, x) => {
      const twice = b.op("Mul", [lengthOf(b, x, 2), b.int64("two", [2])], "twice");
      const sizes = b.op("Concat", [b.int64("front", [1, 2]), twice, b.int64("width", [6])], "sizes", {
        axis: 0,
      });
      return b.op("Resize", [x, null, null, sizes], "y", { mode: "nearest" });
    });
    await compare(single, { height: 4 }, [
      [2, 4, 3],
      [2, 5, 3],
    ]);
  });
});

it("says nothing of other lengths where the model takes only one", async () => {
  const single = modelOf([1, "tokens", 6], (b, x) =>
    b.op("MatMul", [b.op("Reshape", [x, b.int64("row", [1, 24])], "r"), b.weight("w", [24, 3])], "y"),
  );
  const messages = await compare(single, { tokens: 4 }, [[4, 6]]);
  expect(messages[1]).toMatch(/^checked: 3 random samples at once [^,]*$/);
});

it("indices that number the samples by the length of the batch stay as they are", async () => {
  // TorchScript's form of a padding mask: tokens + range(samples) · length, in the flattened mask.
  const single = modelOf([1, "tokens"], (b, x) => {
    const embedded = b.op(
      "Gather",
      [b.weight("table", [2, 3]), b.op("Cast", [x], "ids", { to: 7 })],
      "embedded",
    );
    const scalar = (name: string, value: number) => b.graph.addInitializer(Tensor.int64(name, [], [value]));
    const range = (name: string, axis: number, shape: readonly number[]) => {
      const length = b.op(
        "Gather",
        [b.op("Shape", [embedded], `${name}.shape`), scalar(`${name}.axis`, axis)],
        `${name}.n`,
      );
      const numbers = b.op("Range", [scalar(`${name}.0`, 0), length, scalar(`${name}.1`, 1)], name);
      return b.op("Reshape", [numbers, b.int64(`${name}.to`, shape)], `${name}.row`);
    };
    const start = b.op("Mul", [range("samples", 0, [-1, 1, 1, 1]), lengthOf(b, x, 1)], "start");
    const indices = b.op("Add", [range("tokens", 1, [1, 1, 1, -1]), start], "indices");
    return b.op("Gather", [b.op("Flatten", [x], "flat", { axis: 2 }), indices], "found", { axis: 0 });
  });
  await compare(single, { tokens: 4 }, [[4], [7]]);
});
