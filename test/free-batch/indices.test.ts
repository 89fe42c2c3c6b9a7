import { describe, expect, it } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModel, freeBatch, Model } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { uniform } from "../helpers/lcg.ts";
import { runModel } from "../helpers/run-model.ts";

/** A model with one output of what `build` makes of x. */
function modelOf(shape: readonly (number | string)[], build: (b: GraphBuilder, x: Value) => Value): Model {
  const b = new GraphBuilder(18);
  b.graph.addOutput(build(b, b.input("x", shape)));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

/** Runs the freed model on five samples at once and the original on each. */
async function compare(single: Model, dims: readonly number[], sizes: Record<string, number> = {}) {
  const freed = await freeBatch(single, { dims: sizes });
  const length = dims.reduce((a, b) => a * b, 1);
  const all = uniform("indices", 5 * length);
  const run = async (model: Model, from: number, count: number) => {
    const x = Tensor.float("x", [count, ...dims], all.slice(from * length, (from + count) * length));
    return Object.values(await runModel(encodeModel(model), { x }))[0] as Tensor;
  };
  const together = await run(freed, 0, 5);
  const apart = await Promise.all([0, 1, 2, 3, 4].map((sample) => run(single, sample, 1)));
  expect(together.numbers()).toEqual(apart.flatMap((one) => [...one.numbers()]));
  return together.dims;
}

describe("a mask of the one sample, looked up by its number and the tokens'", () => {
  const tokens = [2, 0, 1, 3];

  it("in a GatherND, as PyTorch's exporter writes it", async () => {
    const pairs = Tensor.int64(
      "pairs",
      [1, 1, 1, 4, 2],
      tokens.flatMap((token) => [0, token]),
    );
    const single = modelOf([1, 4], (b, x) => b.op("GatherND", [x, b.graph.addInitializer(pairs)], "y"));
    expect(await compare(single, [4])).toEqual([5, 1, 1, 4]);
  });

  /** As TorchScript's exporter writes it: tokens + (number of the sample) · length, in the flattened mask. */
  const flattened = (b: GraphBuilder, x: Value): Value => {
    const length = b.op("Gather", [b.op("Shape", [x], "shape"), b.int64("second", [1])], "length");
    const sample = b.graph.addInitializer(Tensor.int64("sample", [1, 1, 1, 1], [0]));
    const list = b.graph.addInitializer(Tensor.int64("tokens", [1, 1, 1, 4], tokens));
    const indices = b.op("Add", [list, b.op("Mul", [sample, length], "start")], "indices");
    const flat = b.op("Flatten", [x], "flat", { axis: 2 });
    const found = b.op("Gather", [flat, indices], "found");
    const row = b.op("Reshape", [found, b.int64("row", [-1])], "line");
    return b.op("Reshape", [row, b.op("Shape", [indices], "wanted")], "y");
  };

  it("in a flattened mask", async () => {
    expect(await compare(modelOf([1, 4], flattened), [4])).toEqual([5, 1, 1, 4]);
  });

  it("in a flattened mask whose length is free, at another length than that of the check", async () => {
    expect(await compare(modelOf([1, "tokens"], flattened), [7], { tokens: 4 })).toEqual([5, 1, 1, 4]);
  });

  it("in a list with the one sample", async () => {
    const single = modelOf([1, 4], (b, x) => b.op("Gather", [x, b.int64("first", [0])], "y"));
    expect(await compare(single, [4])).toEqual([5, 4]);
  });
});

it("the samples of merged heads stay in front of tokens whose length is left open", async () => {
  // BLOOM: [1, 2, 3, 4] to [1·2, −1, 4]
  const single = modelOf([1, 2, 3, 4], (b, x) => {
    const heads = b.op("Reshape", [x, b.int64("heads", [2, -1, 4])], "merged");
    const scores = b.op("MatMul", [heads, b.op("Transpose", [heads], "turned", { perm: [0, 2, 1] })], "s");
    return b.op("Reshape", [scores, b.int64("apart", [1, 2, 3, 3])], "y");
  });
  expect(await compare(single, [2, 3, 4])).toEqual([5, 2, 3, 3]);
});

it("a table with one row, of which each sample takes its own numbers", async () => {
  // RoBERTa looks up the types of its tokens so.
  const single = modelOf([1, 4], (b, x) => {
    const places = b.op("Cast", [b.op("Mul", [x, x], "squares")], "places", { to: 7 });
    const table = b.graph.addInitializer(Tensor.float("types", [1, 6], [1, 2, 3, 4, 5, 6]));
    return b.op("Add", [b.op("GatherElements", [table, places], "types.of", { axis: 1 }), x], "y");
  });
  expect(await compare(single, [4])).toEqual([5, 4]);
});

it("what is the same for all samples is repeated beside heads that are merged with them", async () => {
  // The relative positions of DeBERTa-v2.
  const single = modelOf([1, 2, 3, 4], (b, x) => {
    const merged = b.op("Reshape", [x, b.int64("heads", [2, 3, 4])], "merged");
    const scores = b.op("MatMul", [merged, b.weight("positions", [2, 4, 5])], "scores");
    const table = Tensor.int64("table", [2, 3, 3], [0, 1, 2, 1, 2, 3, 2, 3, 4, 4, 3, 2, 3, 2, 1, 2, 1, 0]);
    const found = b.op("GatherElements", [scores, b.graph.addInitializer(table)], "found", { axis: 2 });
    const biased = b.op("Add", [b.weight("bias", [2, 3, 3]), found], "biased");
    return b.op("Reshape", [biased, b.int64("apart", [1, 2, 3, 3])], "y");
  });
  expect(await compare(single, [2, 3, 4])).toEqual([5, 2, 3, 3]);
});
