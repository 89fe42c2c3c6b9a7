import { describe, expect, test } from "vitest";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import { type Attribute, int, string } from "../../src/graph/attribute.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Node, Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { Model } from "../../src/onnx/model.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { differentiate } from "../../src/programs/differentiate.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { runOpened } from "../helpers/opened-models.ts";
import { bytesOf, numbersOf, random, randomLike } from "./rule-case.ts";
import { slopesOf, steps } from "./slopes.ts";

const [N, I, H] = [3, 2, 4];
const kinds = { RNN: 1, GRU: 3, LSTM: 4 } as const;
type Kind = keyof typeof kinds;

interface Layer {
  readonly kind: Kind;
  readonly x: Value;
  readonly directions: 1 | 2;
  /** Names of the outputs; null leaves one out. */
  readonly outputs: readonly (string | null)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

/** A recurrent node whose weights are graph inputs. */
function addLayer(graph: Graph, { kind, x, directions, outputs, attributes }: Layer): Node {
  const gates = kinds[kind] * H;
  const weight = (name: string, ...shape: number[]) =>
    graph.addInput(graph.freshName(name), "float", [directions, ...shape]);
  return graph.addNode({
    opType: kind,
    name: kind.toLowerCase(),
    attributes: new Map<string, Attribute>(
      Object.entries({
        hidden_size: int(H),
        ...(directions === 2 ? { direction: string("bidirectional") } : {}),
        ...attributes,
      }),
    ),
    inputs: [x, weight("W", gates, x.shape?.[2] as number), weight("R", gates, H), weight("B", 2 * gates)],
    outputs,
  });
}

const newGraph = () => new Graph("recurrent", new Map([["", 18]]));
const ones = (emit: Emit, value: Value) => ({
  value,
  gradient: () => emit.filled(1, value.shape ?? [], "float"),
});
const emitFor = (graph: Graph) => new Emit(graph, { prefix: "d/" });

describe("one output alone, the others left out", () => {
  const cases: [Kind, number, 1 | 2][] = [
    ["RNN", 1, 1],
    ["GRU", 1, 2],
    ["LSTM", 1, 1],
    ["LSTM", 2, 2],
  ];
  test.each(cases)("%s, output %i, %i directions", async (kind, index, directions) => {
    const next = random(5);
    const graph = newGraph();
    const x = graph.addInput("x", "float", [5, N, I]);
    const outputs = Array.from({ length: index + 1 }, (_, i) => (i === index ? "state" : null));
    const node = addLayer(graph, { kind, x, directions, outputs });
    const state = graph.addOutput(node.outputs[index] as Value);
    state.type = "float";
    state.shape = [directions, N, H];
    const forward = bytesOf(graph);
    const wrt = [...graph.inputs];
    const feeds = new Map(
      wrt.map((value) => [value.name, Tensor.float(value.name, value.shape ?? [], randomLike(value, next))]),
    );
    const emit = emitFor(graph);
    const gradients = backward(graph, { wrt, seeds: [ones(emit, state)], rules, emit });
    const results = wrt.map((value) => graph.addOutput(emit.identity(gradients.get(value) as Typed)));
    const computed = await nodeProbe.run(bytesOf(graph), feeds);
    const slopes = await slopesOf(wrt, {
      ...{ type: "float", next, feeds, step: steps.float },
      gradient: (input) => numbersOf(computed.get(results[wrt.indexOf(input)]?.name ?? "")),
      terms: async (moved) => Array.from(numbersOf((await runOpened(forward, moved)).get("state"))),
    });
    for (const { of, numeric, error } of slopes) {
      expect(Math.abs(numeric), of).toBeGreaterThan(0.01);
      expect(error, of).toBeLessThan(1e-4);
    }
  });
});

describe("refusals name the node and say why", () => {
  const refused: [string, Record<string, Attribute>, RegExp][] = [
    ["layout 1", { layout: int(1) }, /LSTM.*"lstm".*layout 1 \(batch first\)/],
    [
      "an unknown activation",
      { activations: { kind: "strings", value: ["Sigmoid", "Tanh", "Mish"] } },
      /"lstm".*activation Mish is not one of Relu, Tanh,/,
    ],
    [
      "activations for one direction of two",
      { activations: { kind: "strings", value: ["Sigmoid", "Tanh", "Tanh"] } },
      /"lstm" has 3 activations; 6 are needed/,
    ],
  ];
  test.each(refused)("%s", (name, attributes, message) => {
    const graph = newGraph();
    const x = graph.addInput("x", "float", [5, N, I]);
    const directions = name.endsWith("two") ? 2 : 1;
    const node = addLayer(graph, { kind: "LSTM", x, directions, outputs: ["Y"], attributes });
    const y = node.outputs[0] as Value;
    y.type = "float";
    y.shape = [5, directions, N, H];
    const emit = emitFor(graph);
    expect(() => backward(graph, { wrt: [x], seeds: [ones(emit, y)], rules, emit })).toThrow(message);
  });
});

test("opsets 7 to 22 have the same gradients", async () => {
  const gradientsIn = async (opset: number) => {
    const next = random(8);
    const graph = new Graph("opset", new Map([["", opset]]));
    const x = graph.addInput("x", "float", [5, N, I]);
    const weight = (name: string, ...shape: number[]) =>
      graph.addInitializer(
        Tensor.float(
          name,
          shape,
          Array.from({ length: elementCount(shape) }, () => next() - 0.5),
        ),
      );
    graph.addNode({
      opType: "GRU",
      attributes: new Map([["hidden_size", int(H)]]),
      inputs: [x, weight("W", 1, 3 * H, I), weight("R", 1, 3 * H, H), weight("B", 1, 6 * H)],
      outputs: [null, "state"],
    });
    const target = graph.addInitializer(
      Tensor.of("rows", "int64", [2], BigInt64Array.of(BigInt(N), BigInt(H))),
    );
    graph.addNode({ opType: "Reshape", inputs: [graph.valueNamed("state"), target], outputs: ["logits"] });
    graph.addOutput(graph.valueNamed("logits")).type = "float";
    const model = Model.fromProto(graphToProto(graph, { irVersion: 8 }));
    const gradient = await differentiate(model, { objective: crossEntropy() }, nodeProbe);
    const feeds = [
      Tensor.float("x", [5, N, I], randomLike(x, next)),
      Tensor.of("labels", "int32", [N], Int32Array.of(0, 1, 2)),
    ];
    const results = await nodeProbe.run(
      gradient.model.bytes,
      new Map(feeds.map((tensor) => [tensor.name, tensor])),
    );
    return ["W", "R", "B"].map((name) => numbersAt(results, gradient.gradients.get(name)));
  };
  const numbersAt = (results: ReadonlyMap<string, Tensor>, name: string | undefined) =>
    Array.from(numbersOf(results.get(name ?? "")));
  const newest = await gradientsIn(22);
  expect(Math.max(...newest.flat())).toBeGreaterThan(0.01);
  for (const opset of [7, 11, 14, 18]) expect(await gradientsIn(opset), `opset ${opset}`).toEqual(newest);
});

/** Two bidirectional layers as PyTorch exports them, with the gradients of everything but x; nothing is pruned. */
function deepGradients(kind: Kind, steps: number, attributes: Readonly<Record<string, Attribute>>) {
  const graph = newGraph();
  const emit = emitFor(graph);
  let x = graph.addInput("x", "float", [steps, N, I]) as Typed;
  for (const name of ["Y1", "Y2"]) {
    const node = addLayer(graph, { kind, x, directions: 2, outputs: [name], attributes });
    const y = node.outputs[0] as Value;
    y.type = "float";
    y.shape = [steps, 2, N, H];
    x = emit.reshape(emit.transpose(y, [0, 2, 1, 3]), [steps, N, 2 * H]);
  }
  graph.addOutput(x);
  const forward = graph.nodes.length;
  const wrt = graph.inputs.filter(({ name }) => name !== "x");
  const seed = emit.filled(1, x.shape);
  const gradients = backward(graph, { wrt, seeds: [{ value: x, gradient: () => seed }], rules, emit });
  for (const value of wrt) graph.addOutput(gradients.get(value) as Value);
  return { graph, nodes: graph.nodes.length - forward };
}

describe.each([
  ["RNN", "", 3.4, {}],
  ["GRU", "", 13.2, {}],
  ["GRU", ", linear_before_reset", 6.6, { linear_before_reset: int(1) }],
  ["LSTM", "", 10.2, {}],
] as const)("gradients of two bidirectional layers of %s%s", (kind, _, nodes, attributes) => {
  test("have no node whose value nobody reads", () => {
    const { graph } = deepGradients(kind, 6, attributes);
    const outputs = new Set(graph.outputs);
    const unread = graph.nodes.filter((node) =>
      node.outputs.every((output) => !output || (output.uses.size === 0 && !outputs.has(output))),
    );
    expect(unread.map(({ name }) => name)).toEqual([]);
  });

  test("grow by a few nodes a step and layer, both directions together", () => {
    const grown = deepGradients(kind, 60, attributes).nodes - deepGradients(kind, 20, attributes).nodes;
    // Parts of seven: the last level of splitting is not full.
    expect(grown / (60 - 20) / 2).toBeCloseTo(nodes, 5);
  });
});
