import { describe, expect, it } from "vitest";
import { graphOf } from "../../src/graph/model-graph.ts";
import { printGraph } from "../../src/graph/print.ts";
import {
  adamw,
  buildArtifacts,
  buildSplitStep,
  buildStep,
  crossEntropy,
  differentiate,
  type Model,
  readModel,
  som,
  stepLoop,
} from "../../src/index.ts";
import { buildEvaluation } from "../../src/programs/evaluation.ts";
import { nodeProbe as probe } from "../../src/runtime/probe-node.ts";

const samples = ["mlp", "cnn", "pointnet"] as const;
const loss = { objective: crossEntropy(), penalties: [{ penalty: som() }], batch: 8 };

/** Every program that is written of a model. */
async function programsOf(model: Model): Promise<Record<string, Model>> {
  const options = { ...loss, optimizer: adamw() };
  const step = await buildStep(model, options);
  const split = await buildSplitStep(model, options);
  const artifacts = await buildArtifacts(model, loss);
  const loop = stepLoop(step);
  const evaluation = await buildEvaluation(model, loss, step.ports, probe);
  return {
    step: step.model,
    loop: loop.model,
    "split: gradients": split.gradients,
    "split: update": split.update,
    gradient: (await differentiate(model, loss)).model,
    evaluation: evaluation.model,
    "artifacts: training": artifacts.training,
    "artifacts: eval": artifacts.eval,
    "artifacts: optimizer": artifacts.optimizer,
  };
}

/** A printed graph whose inner values are numbered in the order in which they are computed: their names are nobody's concern. */
function printed(model: Model): string {
  const graph = graphOf(model);
  const kept = new Set([...graph.inputs, ...graph.outputs].map(({ name }) => name));
  const constants = new Set(graph.initializers.map(({ name }) => name));
  const names = new Map<string, string>();
  return printGraph(graph).replace(/%([^\s,():]+)/g, (whole, name: string) => {
    if (kept.has(name)) return whole;
    if (constants.has(name) && !name.startsWith("sorth/") && !name.startsWith("step/")) return whole;
    const number = names.get(name) ?? String(names.size + 1);
    names.set(name, number);
    return `%${number}`;
  });
}

/** Printed graphs that were recorded once: a change of how programs are written must not change what is written. */
describe.each(samples)("programs of %s.onnx", (sample) => {
  it("are those that were recorded", async () => {
    const programs = await programsOf(await readModel(`models/${sample}.onnx`));
    for (const [name, model] of Object.entries(programs)) {
      const file = `golden/${sample}.${name.replace(": ", "-").replace(" ", "-")}.txt`;
      await expect(`${printed(model)}\n`).toMatchFileSnapshot(file);
    }
  });
});
