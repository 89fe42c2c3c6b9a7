import { expect, test } from "vitest";
import type { Graph } from "../../../src/graph/graph.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { encodeModelProto } from "../../../src/onnx/codec.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { poolBeforeRelu } from "../../../src/passes/training/pool-before-relu.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { randomFloats } from "../../helpers/numbers.ts";

const pooling = { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 1, 0] };

function reluThenPool(options: { readTwice?: boolean; poolIsOutput?: boolean } = {}): Graph {
  const b = new GraphBuilder();
  const r = b.op("Relu", [b.input("x", [2, 3, 7, 6])], "r");
  const p = b.op("MaxPool", [r], "p", pooling);
  if (options.poolIsOutput) return b.output(p);
  const y = b.op("Neg", [p], "y");
  return b.output(y, ...(options.readTwice ? [b.op("Abs", [r], "other")] : []));
}

const opsOf = (graph: Graph) => graph.sorted().map(({ op }) => op);

test("MaxPool(Relu x) = Relu(MaxPool x), to the bit", async () => {
  const feeds = new Map([["x", Tensor.float("x", [2, 3, 7, 6], randomFloats("pool before relu", 252))]]);
  const run = async (graph: Graph) => {
    const result = await nodeProbe.run(encodeModelProto(graphToProto(graph, { irVersion: 9 })), feeds);
    return result.get("y")?.numbers();
  };
  const swapped = reluThenPool();
  expect(poolBeforeRelu().run(swapped).changed).toBe(true);
  expect(opsOf(swapped)).toEqual(["MaxPool", "Relu", "Neg"]);
  const numbers = await run(swapped);
  expect(numbers).toEqual(await run(reluThenPool()));
  expect(numbers?.some((value) => value !== 0)).toBe(true);
});

test("left alone where the activation or the pooled values are needed by name", () => {
  for (const graph of [reluThenPool({ readTwice: true }), reluThenPool({ poolIsOutput: true })]) {
    const before = opsOf(graph);
    expect(poolBeforeRelu().run(graph).changed).toBe(false);
    expect(opsOf(graph)).toEqual(before);
  }
});
