import { describe, expect, it } from "vitest";
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
import { printProgram } from "../helpers/print-program.ts";

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

/** Printed graphs that were recorded once: a change of how programs are written must not change what is written. */
describe.each(samples)("programs of %s.onnx", (sample) => {
  it("are those that were recorded", async () => {
    const programs = await programsOf(await readModel(`models/${sample}.onnx`));
    for (const [name, model] of Object.entries(programs)) {
      const file = `golden/${sample}.${name.replace(": ", "-").replace(" ", "-")}.txt`;
      await expect(`${printProgram(model)}\n`).toMatchFileSnapshot(file);
    }
  });
});
