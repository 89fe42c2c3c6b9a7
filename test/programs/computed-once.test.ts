import { expect, it } from "vitest";
import type { Graph } from "../../src/graph/graph.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { adamw, crossEntropy, penaltyNamed, penaltyNames, readModel } from "../../src/index.ts";
import { loweringFor } from "../../src/passes/backends/table.ts";
import { differentiate } from "../../src/programs/differentiate.ts";
import { buildSplitStep } from "../../src/programs/split-step.ts";
import { buildStep } from "../../src/programs/step.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";

/** Nodes that compute what an earlier one computed from the same inputs; those that are returned keep their names. */
function computedAgain(graph: Graph): string[] {
  const known = new Set<string>();
  return graph.sorted().flatMap(({ op, label, attributes, inputs, outputs, captures }) => {
    if (captures.length > 0) return [];
    const text = JSON.stringify([op, [...attributes].sort(), inputs.map((input) => input?.name)]);
    const returned = outputs.some((output) => output && graph.outputs.includes(output));
    if (known.has(text) && !returned) return [`${op} ${label}`];
    known.add(text);
    return [];
  });
}

const optionsWith = (penalty: string, batch?: number) => ({
  objective: crossEntropy(),
  penalties: penalty === "none" ? [] : [{ penalty: penaltyNamed(penalty) }],
  optimizer: adamw(),
  ...(batch ? { batch } : {}),
});

// The square x·x has the gradient dy·x twice, power iterations transpose the matrix in each round, and several penalties read
// what is clamped once more in their gradient.
it.each(penaltyNames)("a step with %s computes nothing twice", async (penalty) => {
  const model = await readModel("test/fixtures/exports/densenet.script-train.onnx");
  const step = await buildStep(model, optionsWith(penalty), nodeProbe);
  expect(computedAgain(graphOf(step.model))).toEqual([]);
});

// Two kernels with a stride read windows of the same image; the gradients of an LSTM split its gates twice.
it.each([
  ["exports/resnet.script-train.onnx", "som", undefined],
  ["recurrent/lstm.dynamo.onnx", "none", undefined],
  ["hugging-face/vit.onnx", "som", 4],
] as const)("no program with gradients of %s computes anything twice", async (file, penalty, batch) => {
  const model = await readModel(`test/fixtures/${file}`);
  const options = optionsWith(penalty, batch);
  const lower = await loweringFor("cpu", nodeProbe);
  const split = await buildSplitStep(model, options, nodeProbe);
  const programs = [
    (await buildStep(model, { ...options, lower }, nodeProbe)).model,
    ...[split.gradients, split.update],
    (await differentiate(model, options, nodeProbe)).model,
  ];
  for (const program of programs) expect(computedAgain(graphOf(program))).toEqual([]);
});
