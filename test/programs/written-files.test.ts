import { describe, expect, test } from "vitest";
import { checkGraph } from "../../src/graph/check.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { buildArtifacts, buildStep, differentiate } from "../../src/index.ts";
import { meanSquaredError } from "../../src/losses/elementwise.ts";
import { Model } from "../../src/onnx/model.ts";
import type { onnx } from "../../src/onnx/schema.js";
import { sgd } from "../../src/optimizers/sgd.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** x·weight → Relu, with names of the caller's. */
function modelWith(names: { weight?: string; node?: string; inner?: string; relu?: string }): Model {
  const { weight = "w", node = "fc", inner = "inner", relu = "relu" } = names;
  const b = new GraphBuilder(18);
  const input = b.input("x", [3, 4]);
  const [hidden] = b.graph.addNode({
    opType: "MatMul",
    name: node,
    inputs: [input, b.weight(weight, [4, 4])],
    outputs: [inner],
  }).outputs;
  const [y] = b.graph.addNode({
    opType: "Relu",
    name: relu,
    inputs: [hidden ?? null],
    outputs: ["y"],
  }).outputs;
  if (y) b.output(y);
  return Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
}

const objective = meanSquaredError();
const writers: Record<string, (model: Model) => Promise<readonly Model[]>> = {
  grad: async (model) => [(await differentiate(model, { objective })).model],
  step: async (model) => [(await buildStep(model, { objective, optimizer: sgd() })).model],
  artifacts: async (model) => {
    const { training } = await buildArtifacts(model, { objective });
    checkGraph(graphOf(training));
    return [];
  },
};

describe.each(Object.entries(writers))("%s writes a file that ONNX Runtime opens", (_, write) => {
  test.each([
    ["a node named loss", { node: "loss" }],
    ["nodes named as outputs will be", { node: "w_grad", relu: "w.next" }],
    ["nodes named as made values are", { node: "step/Mul", relu: "step/Sub" }],
    ["an inner value named loss", { inner: "loss", node: "loss" }],
    ["a weight named as what every object has", { weight: "constructor", inner: "toString" }],
    ["a weight named __proto__", { weight: "__proto__" }],
  ] as const)("%s", async (_case, names) => {
    for (const { bytes } of await write(modelWith(names))) {
      expect((await nodeProbe.outputs(bytes)).length).toBeGreaterThan(0);
    }
  });
});

test.each(["constructor", "__proto__"])("free lengths named as what every object has: %s", async (name) => {
  const b = new GraphBuilder(18);
  const rows = b.op("MatMul", [b.input("x", [name, "toString", 4]), b.weight("w", [4, 2])], "y");
  const model = Model.fromProto(graphToProto(b.output(rows), { irVersion: 9 }));
  await expect(differentiate(model, { objective, batch: 3 })).rejects.toThrow("--dim toString=");
  const { model: gradients } = await differentiate(model, {
    objective,
    batch: 3,
    dims: { toString: 5 } as never,
  });
  const graph = graphOf(gradients);
  expect(graph.inputs.map(({ declared }) => declared)).toEqual([
    [3, 5, 4],
    [3, 5, 2],
  ]);
});

test("a length that depends on data is named as the reason", async () => {
  const b = new GraphBuilder(18);
  const rows = b.op("MatMul", [b.input("x", [4, 3]), b.weight("w", [3, 2])], "rows");
  const found = b.op(
    "Squeeze",
    [b.op("NonZero", [b.input("m", [4], "bool")], "found"), b.int64("axes", [0])],
    "at",
  );
  b.output(b.op("Gather", [rows, found], "y"));
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
  await expect(differentiate(model, { objective })).rejects.toThrow(
    'the shape of "y" is not known: how many elements NonZero (node "found") finds depends on the data',
  );
  // The same behind a sum, whose own length only the data decide: the walk, not the loss, needs it.
  b.graph.outputs.splice(0);
  b.output(
    b.op(
      "ReduceSum",
      [b.op("Add", [b.graph.valueNamed("y"), b.weight("v", [2])], "z"), b.int64("first", [0])],
      "s",
    ),
  );
  const summed = Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
  await expect(differentiate(summed, { objective })).rejects.toThrow(
    /^the shape of "[yz]" .* NonZero \(node "found"\)/,
  );
});

describe.each(Object.entries(writers))("%s refuses a file that is broken, and names what is", (_, write) => {
  const changed = (change: (graph: onnx.GraphProto.$Properties) => void): Model => {
    const { proto } = modelWith({});
    change(proto.graph ?? {});
    return Model.fromProto(proto);
  };

  test("two initializers of one name", async () => {
    const model = changed((graph) => graph.initializer?.push(graph.initializer[0] ?? {}));
    await expect(write(model)).rejects.toThrow('two initializers named "w"');
  });

  test("a missing initializer", async () => {
    const model = changed((graph) => graph.initializer?.pop());
    await expect(write(model)).rejects.toThrow('nothing computes "w", which node "fc" reads');
  });

  test("an operator that does not exist, named as what every object has", async () => {
    const model = changed((graph) => {
      const relu = graph.node?.[1];
      if (relu) relu.opType = "constructor";
    });
    await expect(write(model)).rejects.toThrow("No Op registered for constructor");
  });

  test("a value whose type ONNX Runtime cannot tell", async () => {
    await expect(write(modelWith({ inner: "\0" }))).rejects.toThrow("is not known: ONNX Runtime infers none");
  });
});
