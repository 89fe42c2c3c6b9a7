import { describe, expect, test } from "vitest";
import { Emit } from "../../../src/graph/emit.ts";
import type { Typed } from "../../../src/graph/emit-base.ts";
import { Graph } from "../../../src/graph/graph.ts";
import { graphOf } from "../../../src/graph/model-graph.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { crossEntropy } from "../../../src/losses/cross-entropy.ts";
import { Model } from "../../../src/onnx/model.ts";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import { chooseSegments } from "../../../src/passes/training/checkpoint-segments.ts";
import { som } from "../../../src/penalties/som.ts";
import { differentiate } from "../../../src/programs/differentiate.ts";
import type { LossOptions } from "../../../src/programs/options.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { randomFloats } from "../../helpers/numbers.ts";

const [batch, length, width, classes] = [4, 6, 16, 10];

/** A network under construction, and its weights. */
interface Making {
  readonly g: Emit;
  readonly weight: (name: string, dims: readonly number[]) => Typed;
}

/** Matrices with a Tanh behind each. */
const layers = ({ g, weight }: Making, x: Typed, depth: number): Typed =>
  Array.from({ length: depth }).reduce<Typed>(
    (h, _, i) =>
      g.op(
        "Tanh",
        [g.add(g.matMul(h, weight(`${i}.weight`, [width, width])), weight(`${i}.bias`, [width]))],
        h.shape,
      ),
    x,
  );

/** Blocks of a transformer: attention over positions that a mask leaves, and two matrices, each beside a path around it. */
function transformer({ g, weight }: Making, tokens: Typed, mask: Typed, depth: number): Typed {
  const table = weight("table", [classes, width]);
  let x = g.op("Gather", [table, tokens], [batch, length, width]);
  const bias = g.mul(g.sub(g.reshape(mask, [batch, 1, length]), 1), 1e4);
  for (let i = 0; i < depth; i++) {
    const [q, k, v] = ["q", "k", "v"].map((name) => g.matMul(x, weight(`${i}.${name}`, [width, width]))) as [
      Typed,
      Typed,
      Typed,
    ];
    const scores = g.add(g.matMul(q, g.transpose(k, [0, 2, 1])), bias);
    x = g.add(x, g.matMul(g.op("Softmax", [scores], scores.shape), v));
    x = g.add(
      x,
      g.matMul(
        g.op("Tanh", [g.matMul(x, weight(`${i}.up`, [width, 2 * width]))], [batch, length, 2 * width]),
        weight(`${i}.down`, [2 * width, width]),
      ),
    );
  }
  return g.op("ReduceSum", [x, g.int64s([1])], [batch, 1, width]);
}

function network(kind: "layers" | "transformer"): Model {
  const graph = new Graph(kind, new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "layer/" });
  const weight = (name: string, dims: readonly number[]) =>
    graph.addInitializer(
      Tensor.float(name, dims, randomFloats(name, elementCount(dims), -0.3, 0.3)),
    ) as Typed;
  const making = { g, weight };
  let last: Typed;
  if (kind === "layers") last = layers(making, graph.addInput("x", "float", [batch, width]) as Typed, 9);
  else {
    const tokens = graph.addInput("tokens", "int64", [batch, length]) as Typed;
    last = transformer(making, tokens, graph.addInput("mask", "float", [batch, length]) as Typed, 3);
    last = g.reshape(last, [batch, width]);
  }
  const logits = g.matMul(last, weight("head.weight", [width, classes]));
  graph.rename(logits, "logits");
  graph.addOutput(logits);
  return Model.fromProto(graphToProto(graph, { irVersion: 9 }));
}

const feeds = {
  layers: { x: Tensor.float("x", [batch, width], randomFloats("x", batch * width)) },
  transformer: {
    tokens: Tensor.int64(
      "tokens",
      [batch, length],
      Array.from({ length: batch * length }, (_, i) => (i * 7) % classes),
    ),
    mask: Tensor.float(
      "mask",
      [batch, length],
      Array.from({ length: batch * length }, (_, i) => (i % length < 4 ? 1 : 0)),
    ),
  },
};

async function gradientsOf(kind: "layers" | "transformer", options: LossOptions) {
  const messages: string[] = [];
  const given = { objective: crossEntropy(), ...options, onMessage: (text: string) => messages.push(text) };
  const { model } = await differentiate(network(kind), given, nodeProbe);
  const labels = Tensor.of(
    "labels",
    "int32",
    [batch],
    Int32Array.from({ length: batch }, (_, i) => i),
  );
  const all = new Map<string, Tensor>([...Object.entries(feeds[kind]), ["labels", labels]]);
  const again = graphOf(model).nodes.filter(({ name }) => name.startsWith("step/again/")).length;
  return { again, messages, outputs: await nodeProbe.run(model.bytes, all, { optimize: false }) };
}

describe("checkpointEvery", () => {
  test.each([
    ["layers", "block", {}],
    ["layers", 2, {}],
    ["layers", 3, { trainable: /^(6|7|8|head)/ }],
    ["layers", 2, { penalties: [{ penalty: som(), weight: 0.5 }] }],
    ["layers", 3, { recompute: true }],
    ["transformer", "block", {}],
    ["transformer", 1, { freeze: /table/ }],
    ["transformer", 2, { penalties: [{ penalty: som(), weight: 0.5 }] }],
  ] as const)("changes no bit of the gradients: %s, %s, %o", async (kind, checkpointEvery, options) => {
    const plain = await gradientsOf(kind, options);
    const frugal = await gradientsOf(kind, { ...options, checkpointEvery });
    expect(frugal.again).toBeGreaterThan(2);
    expect(frugal.messages.join()).toMatch(/checkpoint-every: \d+ segments? of the forward pass/);
    expect([...frugal.outputs.keys()]).toEqual([...plain.outputs.keys()]);
    for (const [name, { data }] of plain.outputs) expect(frugal.outputs.get(name)?.data, name).toEqual(data);
  });

  test("is refused where it would have no effect", async () => {
    await expect(gradientsOf("layers", { checkpointEvery: 40 })).rejects.toThrow(
      /has no effect: .* fewer than 40 places/,
    );
    await expect(gradientsOf("layers", { checkpointEvery: "block", trainable: /^head/ })).rejects.toThrow(
      /would save no memory/,
    );
    await expect(gradientsOf("layers", { checkpointEvery: 0 })).rejects.toThrow(/checkpointEvery/);
  });
});

test("equal layers are cut into about √n segments, wide blocks between narrow places at every place", () => {
  const places = (count: number) => Array.from({ length: count }, (_, at) => ({ at, bytes: 1 }));
  const deep = chooseSegments(places(99), Array<number>(100).fill(1));
  expect(deep.length).toBeGreaterThan(5);
  expect(deep.length).toBeLessThan(15);
  expect(chooseSegments(places(9), Array<number>(10).fill(20))).toHaveLength(9);
  expect(chooseSegments([], [5, 5])).toEqual([]);
});
