import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Emit } from "../../../src/graph/emit.ts";
import type { Typed } from "../../../src/graph/emit-base.ts";
import { Graph } from "../../../src/graph/graph.ts";
import { graphOf } from "../../../src/graph/model-graph.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { crossEntropy } from "../../../src/losses/cross-entropy.ts";
import { Model } from "../../../src/onnx/model.ts";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import { sgd } from "../../../src/optimizers/sgd.ts";
import { som } from "../../../src/penalties/som.ts";
import { buildArtifacts } from "../../../src/programs/artifacts.ts";
import { differentiate } from "../../../src/programs/differentiate.ts";
import { buildStep } from "../../../src/programs/step.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { randomFloats } from "../../helpers/numbers.ts";
import { runModel } from "../../helpers/run-model.ts";
import { StepRunner } from "../../oracles/step-runner.ts";

const [batch, features, classes] = [32, 64, 10];

/**
 * Blocks of MatMul + bias, a Gelu written out, and a residual sum. The Gelu divides by 1.5 instead of √2: ONNX Runtime would
 * fuse a true one where nothing else reads its parts, in the graph that computes them again alone.
 */
function geluNetwork(blocks: number): Model {
  const graph = new Graph("gelu", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "layer/" });
  const weight = (name: string, dims: readonly number[]) =>
    graph.addInitializer(
      Tensor.float(name, dims, randomFloats(name, elementCount(dims), -0.2, 0.2)),
    ) as Typed;
  let x = graph.addInput("x", "float", [batch, features]) as Typed;
  for (let block = 0; block < blocks; block++) {
    const inner = g.add(
      g.matMul(x, weight(`${block}.weight`, [features, features])),
      weight(`${block}.bias`, [features]),
    );
    const gelu = g.mul(g.mul(inner, g.add(g.erf(g.div(inner, 1.5)), 1)), 0.5);
    x = g.add(x, gelu);
  }
  const logits = g.matMul(x, weight("head.weight", [features, classes]));
  graph.rename(logits, "logits");
  graph.addOutput(logits);
  return Model.fromProto(graphToProto(graph, { irVersion: 9 }));
}

const x = randomFloats("x", batch * features);
const labels = Array.from({ length: batch }, (_, i) => i % classes);

async function gradientsOf(model: Model, recompute: boolean) {
  const messages: string[] = [];
  const gradient = await differentiate(
    model,
    { objective: crossEntropy(), recompute, onMessage: (message) => messages.push(message) },
    nodeProbe,
  );
  const feeds = new Map([
    ["x", Tensor.float("x", [batch, features], x)],
    ["labels", Tensor.of("labels", "int32", [batch], Int32Array.from(labels))],
  ]);
  return { ...gradient, messages, outputs: await nodeProbe.run(gradient.model.bytes, feeds) };
}

describe("recompute", () => {
  test("gives the same gradients bit for bit, from values that wait for their gradient", async () => {
    const model = geluNetwork(4);
    const plain = await gradientsOf(model, false);
    const frugal = await gradientsOf(model, true);
    expect([...frugal.outputs.keys()]).toEqual([...plain.outputs.keys()]);
    for (const [name, tensor] of plain.outputs) {
      expect(frugal.outputs.get(name)?.data, name).toEqual(tensor.data);
    }
    const nodes = graphOf(frugal.model).nodes.map(({ name }) => name);
    expect(nodes.filter((name) => name.startsWith("step/again/")).length).toBeGreaterThan(10);
    expect(plain.messages).toEqual([]);
    expect(frugal.messages[0]).toMatch(
      /^recompute: \d+ activations \(0\.\d MiB\) are computed again instead of kept$/,
    );
  });

  test("changes no bit of a training step with BatchNormalization, pooling and a penalty", async () => {
    const model = Model.fromBytes(readFileSync("models/cnn.onnx"));
    const images = randomFloats("images", 16 * 784);
    const run = async (recompute: boolean) => {
      const step = await buildStep(
        model,
        {
          ...{ objective: crossEntropy(), optimizer: sgd({ momentum: 0.9 }), batch: 16, recompute },
          penalties: [{ penalty: som(), weight: 0.1 }],
        },
        nodeProbe,
      );
      const runner = await StepRunner.create(step);
      const losses: number[] = [];
      for (let i = 0; i < 3; i++) {
        const { loss } = await runner.run(
          images,
          Array.from({ length: 16 }, (_, j) => (i + j) % 10),
          {
            learningRate: 0.05,
          },
        );
        losses.push(loss);
      }
      const again = graphOf(step.model).nodes.filter(({ name }) => name.startsWith("step/again/"));
      const weights = step.ports.parameters.map(({ name }) => runner.state(name));
      return { losses, weights, again: again.length };
    };
    const [plain, frugal] = [await run(false), await run(true)];
    expect(plain.again).toBe(0);
    expect(frugal.again).toBeGreaterThan(0);
    expect(frugal.losses).toEqual(plain.losses);
    expect(frugal.weights).toEqual(plain.weights);
  });

  test("changes no bit of the gradients in artifacts of ONNX Runtime's training API", async () => {
    const gradients = async (recompute: boolean) => {
      const model = geluNetwork(4);
      const options = { objective: crossEntropy(), recompute };
      const { training, checkpoint } = await buildArtifacts(model, options, nodeProbe);
      const graph = graphOf(training);
      // Stock builds have no kernel that accumulates: the gradients themselves are shown.
      const wanted = checkpoint.parameters.map(({ name }) => graph.valueNamed(`${name}_grad`));
      graph.outputs.splice(0, graph.outputs.length, graph.valueNamed("loss"), ...wanted);
      graph.prune();
      for (const input of [...graph.inputs]) if (input.uses.size === 0) graph.removeInput(input);
      const feeds = {
        ...Object.fromEntries(checkpoint.parameters.map((tensor) => [tensor.name, tensor])),
        x: Tensor.float("x", [batch, features], x),
        labels: Tensor.int64("labels", [batch], labels),
      };
      // As written: where ONNX Runtime may fuse a Gelu, it does so in one form and not in the other.
      const outputs = await runModel(graph, feeds, { optimize: false });
      const again = graph.nodes.filter(({ name }) => name.startsWith("step/again/")).length;
      return { again, outputs: Object.entries(outputs).map(([name, { data }]) => [name, data]) };
    };
    const [plain, frugal] = [await gradients(false), await gradients(true)];
    expect([plain.again, frugal.again > 10]).toEqual([0, true]);
    expect(plain.outputs).toHaveLength(10);
    expect(frugal.outputs).toEqual(plain.outputs);
  });
});
