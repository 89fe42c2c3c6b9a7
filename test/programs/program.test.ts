import { describe, expect, it } from "vitest";
import { bodiesOf } from "../../src/graph/bodies.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  buildArtifacts,
  buildStep,
  crossEntropy,
  differentiate,
  encodeModel,
  inspect,
  Model,
  readModel,
  sgd,
  som,
  stepLoop,
} from "../../src/index.ts";
import { prepare } from "../../src/programs/prepare.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { printProgram } from "../helpers/print-program.ts";
import { programsOf } from "../helpers/programs-of.ts";

/** Conv → Relu → MaxPool → Flatten → Gemm, with a note of its exporter. */
function poolingModel(): Model {
  const b = new GraphBuilder();
  const r = b.op(
    "Relu",
    [b.op("Conv", [b.input("x", [4, 1, 8, 8]), b.weight("conv.weight", [6, 1, 3, 3])], "c")],
    "r",
  );
  const pooled = b.op("MaxPool", [r], "pooled", { kernel_shape: [2, 2], strides: [2, 2] });
  const flat = b.op("Flatten", [pooled], "flat");
  const graph = b.output(b.op("Gemm", [flat, b.weight("fc.weight", [54, 5]), b.weight("fc.bias", [5])], "y"));
  graph.metadata.set("exporter", "of this test");
  return Model.fromProto(graphToProto(graph, { irVersion: 9 }));
}

const options = { objective: crossEntropy(), optimizer: sgd() };

describe("every program", () => {
  it("leaves the prefix of injected blocks and the model's notes out, and pools before Relu", async () => {
    const programs = await programsOf(poolingModel(), { penalties: [{ penalty: som() }] });
    for (const [name, model] of Object.entries(programs)) {
      const graph = graphOf(model);
      const names = [
        ...graph.nodes.map((node) => node.name),
        ...[...graph.values].map((value) => value.name),
      ];
      expect(
        names.filter((one) => one.startsWith("sorth/")),
        name,
      ).toEqual([]);
      expect([...graph.metadata.keys()], name).toEqual(/^(step|loop)$/.test(name) ? ["sorth.step"] : []);
      const pool = graph.nodes.find(({ op }) => op === "MaxPool");
      if (pool) expect(pool.inputs[0]?.producer?.op, name).toBe("Conv");
    }
    const pooling = Object.values(programs).filter((model) => /MaxPool/.test(printProgram(model)));
    expect(pooling.length).toBe(6);
  });

  it("finds a value that the options name, also where a pass would replace it", async () => {
    const b = new GraphBuilder();
    const r = b.op(
      "Relu",
      [b.op("Conv", [b.input("x", [4, 1, 8, 8]), b.weight("w", [6, 1, 3, 3])], "c")],
      "r",
    );
    const scores = b.op("MaxPool", [r], "scores", { kernel_shape: [6, 6] });
    const model = Model.fromProto(graphToProto(b.output(b.op("Neg", [scores], "y")), { irVersion: 9 }));
    for (const name of ["scores", "r"]) {
      const programs = await programsOf(model, { output: name });
      expect(Object.keys(programs)).toContain("evaluation");
    }
  });
});

it("a new program is a list of calls", async () => {
  const model = await readModel("models/mlp.onnx");
  const loss = { objective: crossEntropy(), batch: 2 };
  const program = await prepare(model, loss, nodeProbe);
  const total = program.loss();
  const gradients = await program.gradients(total, program.prepared.parameters);
  program.dropOutputs();
  program.output(total.total, "loss");
  for (const [parameter, gradient] of gradients) program.output(gradient, `${parameter.name}_grad`);
  const written = await program.finish();
  expect(printProgram(written)).toBe(printProgram((await differentiate(model, loss)).model));
});

it("a step in Loop form is the same each time that it is made, and leaves the step as it was", async () => {
  const step = await buildStep(await readModel("models/mlp.onnx"), { ...options, batch: 2 });
  const before = encodeModel(step.model);
  const [first, second] = [stepLoop(step), stepLoop(step)];
  expect(printProgram(second.model)).toBe(printProgram(first.model));
  expect(encodeModel(step.model)).toEqual(before);
  const [loop] = graphOf(first.model).nodes;
  expect(bodiesOf(loop as never)[0]?.valueInfo ?? []).toEqual([]);
});

describe("names that begin with step/", () => {
  it("are no layers and no parameters of a gradient graph", async () => {
    const { model } = await differentiate(poolingModel(), options);
    const { sites, parameters } = await inspect(model);
    expect(sites.map(({ name }) => name)).toEqual(["c", "y"]);
    expect(parameters.map(({ name }) => name)).toEqual(["conv.weight", "fc.weight", "fc.bias"]);
  });

  it("are a model's own where its exporter chose them", async () => {
    const b = new GraphBuilder();
    const h = b.op("MatMul", [b.input("x", [4, 3]), b.weight("step/kernel", [3, 5])], "step/MatMul");
    const model = Model.fromProto(graphToProto(b.output(b.op("Neg", [h], "y")), { irVersion: 9 }));
    const { ports } = await buildStep(model, options);
    expect(ports.parameters.map(({ name }) => name)).toEqual(["step/kernel"]);
  });
});

it("artifacts refuse a running variance where the statistics are frozen, as a step does", async () => {
  const form = { ...options, batchNorm: "frozen", runningVariance: "torch" } as const;
  const model = poolingModel();
  const message = /frozen BatchNormalization .* has no running variance/;
  await expect(buildStep(model, form)).rejects.toThrow(message);
  await expect(buildArtifacts(model, { ...form, optimizer: "sgd" })).rejects.toThrow(message);
});
