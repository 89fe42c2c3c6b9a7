import { expect, test } from "vitest";
import { Emit } from "../../../src/graph/emit.ts";
import { typed } from "../../../src/graph/emit-base.ts";
import { Graph } from "../../../src/graph/graph.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { encodeModelProto } from "../../../src/onnx/codec.ts";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import { blockConvolutions, channelBlock } from "../../../src/passes/backends/block-convolutions.ts";
import { runPass } from "../../../src/passes/pass.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { maxAbs, randomFloats } from "../../helpers/numbers.ts";

const geometry = { strides: [2, 1], dilations: [1, 2], pads: [1, 2, 0, 2], group: 1 };

/** Two convolutions of one input; the weight of the second is constant. */
function model() {
  const graph = new Graph("convolutions", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "t/" });
  const shapes = { x: [2, 32, 24, 9], w: [48, 32, 3, 3], b: [48] };
  const [x, w, b] = Object.entries(shapes).map(([name, shape]) => graph.addInput(name, "float", shape));
  if (!x || !w || !b) throw new Error("no inputs");
  const y = g.conv(x, w, geometry);
  const withBias = g.op("Conv", [x, w, b], y.shape, {
    attributes: Object.fromEntries(y.producer?.attributes ?? []),
  });
  const constant = graph.addInitializer(
    Tensor.float("c", shapes.w, randomFloats("c", elementCount(shapes.w))),
  );
  for (const value of [y, withBias, g.conv(x, constant, geometry)]) graph.addOutput(typed(value));
  const feeds = new Map(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      Tensor.float(name, shape, randomFloats(name, elementCount(shape))),
    ]),
  );
  return { graph, g, feeds };
}

test("a probe without the layout gives none", async () => {
  const refusing = { ...nodeProbe, run: () => Promise.reject(new Error("no such operator")) };
  expect(await channelBlock(refusing)).toBeUndefined();
  const wrongNumbers = {
    ...nodeProbe,
    run: async () => new Map([["y", Tensor.float("y", [64], new Float32Array(64))]]),
  };
  expect(await channelBlock(wrongNumbers)).toBeUndefined();
});

test("blocked convolutions give the same numbers; constant weights are left to ONNX Runtime", async ({
  skip,
}) => {
  const block = await channelBlock(nodeProbe);
  if (!block) return skip("this processor has no blocked layout");
  const run = async (graph: Graph, feeds: ReadonlyMap<string, Tensor>) =>
    [...(await nodeProbe.run(encodeModelProto(graphToProto(graph, { irVersion: 9 })), feeds)).values()].map(
      (t) => t.numbers(),
    );
  const plain = model();
  const expected = await run(plain.graph, plain.feeds);
  const blocked = model();
  const pass = blockConvolutions({ block });
  expect(await runPass(pass, blocked.graph, { emit: blocked.g, probe: nodeProbe })).toBe(2);
  const ops = blocked.graph.nodes.map(({ op }) => op);
  expect(ops.filter((op) => op === "Conv").length).toBe(1);
  expect(ops.filter((op) => op === "com.microsoft.nchwc.ReorderInput").length, "one reordering of x").toBe(1);
  const actual = await run(blocked.graph, blocked.feeds);
  expected.forEach((numbers, i) => {
    const differences = numbers.map((value, j) => value - (actual[i]?.[j] ?? Number.NaN));
    expect(maxAbs(differences) / maxAbs(numbers)).toBeLessThan(1e-5);
  });
});

test("left alone: odd channels, groups, 1×1 kernels, few points", async () => {
  const cases = [
    { x: [2, 24, 16, 16], w: [32, 24, 3, 3], group: 1 },
    { x: [2, 32, 16, 16], w: [32, 16, 3, 3], group: 2 },
    { x: [2, 32, 16, 16], w: [32, 32, 1, 1], group: 1 },
    { x: [2, 32, 7, 7], w: [32, 32, 3, 3], group: 1 },
  ];
  for (const { x, w, group } of cases) {
    const graph = new Graph("convolution", new Map([["", 18]]));
    const g = new Emit(graph, { prefix: "t/" });
    const inputs = [graph.addInput("x", "float", x), graph.addInput("w", "float", w)] as const;
    graph.addOutput(g.conv(...inputs, { strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1], group }));
    const pass = blockConvolutions({ block: 16 });
    expect(await runPass(pass, graph, { emit: g, probe: nodeProbe })).toBe(0);
    expect(graph.opsets.size).toBe(1);
  }
});
