import { isTrainingForm } from "../../analysis/batch-norm-form.ts";
import { SorthError } from "../../errors.ts";
import { int } from "../../graph/attribute.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { changes, defineGraphPass } from "../pass.ts";

/** Inputs of a training-form node that hold running statistics. */
interface RunningStatistics {
  readonly mean: Value;
  readonly variance: Value;
}

/** A running statistic that a step reads, and its next value. */
export interface NextStatistic {
  readonly input: Value;
  readonly isVariance: boolean;
  readonly next: Typed;
}

/**
 * Brings every BatchNormalization into the form in which it will run (DESIGN §5.10), before shapes are inferred.
 * For opset 14 and above.
 *
 *     train:   y = BatchNormalization(…)                           →  y, mean', variance' = BatchNormalization(…) {training_mode}
 *     frozen:  y, mean', variance' = … {training_mode}; f(mean')   →  y = BatchNormalization(…); f(mean)
 */
export const setBatchNormForm = defineGraphPass({
  name: "set-batch-norm-form",
  options: {
    /** `train`: normalizes with the statistics of the batch, and updates the running ones; `frozen`: with the stored ones. */
    mode: "train" as "train" | "frozen",
  },
  run(graph, { mode }) {
    const train = mode === "train";
    const nodes = graph.nodes.filter((node) => {
      if (node.op !== "BatchNormalization") return false;
      return train ? !isTrainingForm(node) || !hasStatistics(node) : isTrainingForm(node);
    });
    for (const node of nodes) (train ? toTrainingForm : toInferenceForm)(graph, node);
    const why = `no BatchNormalization is in the other form than ${mode}`;
    return changes(nodes.length, "BatchNormalization node", why);
  },
});

// ONNX Runtime accepts the training form only with three outputs.
const hasStatistics = ({ outputs }: Node): boolean => !!outputs[1] && !!outputs[2];

function toTrainingForm(graph: Graph, node: Node): void {
  node.attributes.set("training_mode", int(1));
  const [output] = node.outputs;
  ["mean", "variance"].forEach((statistic, i) => {
    if (!node.outputs[i + 1]) graph.addNodeOutput(node, i + 1, `${output?.name}.running_${statistic}`);
  });
}

function toInferenceForm(graph: Graph, node: Node): void {
  node.attributes.delete("training_mode");
  [3, 4].forEach((input, i) => {
    const output = node.outputs[i + 1];
    const stored = node.inputs[input];
    if (output && stored) graph.replaceUses(output, stored, { outputs: true });
  });
  graph.dropNodeOutputs(node, 1);
}

/** The running statistics of every training-form node whose statistics the model stores; they are state. */
export function batchNormStatistics(graph: Graph): RunningStatistics[] {
  return graph.nodes.filter(isTrainingForm).flatMap((node) => {
    const [mean, variance] = statisticsOf(node);
    return mean.initializer && variance.initializer ? [{ mean, variance }] : [];
  });
}

/** The inputs of a BatchNormalization that hold its running mean and variance. */
export function statisticsOf(node: Node): [Value, Value] {
  const [, , , mean, variance] = node.inputs;
  if (!mean || !variance) throw new SorthError(`BatchNormalization node "${node.label}" has no statistics`);
  return [mean, variance];
}
