import {
  adamw,
  buildArtifacts,
  buildSplitStep,
  buildStep,
  crossEntropy,
  differentiate,
  type Model,
  stepLoop,
} from "../../src/index.ts";
import { buildEvaluation } from "../../src/programs/evaluation.ts";
import type { LossOptions } from "../../src/programs/options.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";

/** Every program of a model by name; the loss is the cross-entropy. */
export async function programsOf(model: Model, options: LossOptions = {}): Promise<Record<string, Model>> {
  const loss = { objective: crossEntropy(), ...options };
  const step = await buildStep(model, { ...loss, optimizer: adamw() });
  const split = await buildSplitStep(model, { ...loss, optimizer: adamw() });
  const artifacts = await buildArtifacts(model, loss);
  return {
    step: step.model,
    loop: stepLoop(step).model,
    "split: gradients": split.gradients,
    "split: update": split.update,
    gradient: (await differentiate(model, loss)).model,
    evaluation: (await buildEvaluation(model, loss, step.ports, nodeProbe)).model,
    "artifacts: training": artifacts.training,
    "artifacts: eval": artifacts.eval,
    "artifacts: optimizer": artifacts.optimizer,
  };
}
