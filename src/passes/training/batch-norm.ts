import {
  batchStatistics,
  defaultMomentum,
  isTrainingForm,
  normalizeBatch,
} from "../../autodiff/rules/batch-normalization.ts";
import { SorthError } from "../../errors.ts";
import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { changed, counted, defineGraphPass, definePass, unchanged } from "../pass.ts";

/** Inputs of a training-form node that hold running statistics. */
export interface RunningStatistics {
  readonly mean: Value;
  readonly variance: Value;
}

/** A running statistic that a step reads, and its next value. */
export interface NextStatistic {
  readonly input: Value;
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
    return nodes.length > 0
      ? changed(counted(nodes.length, "BatchNormalization node"))
      : unchanged(`no BatchNormalization is in the other form than ${mode}`);
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

function statisticsOf(node: Node): [Value, Value] {
  const [, , , mean, variance] = node.inputs;
  if (!mean || !variance) throw new SorthError(`BatchNormalization node "${node.label}" has no statistics`);
  return [mean, variance];
}

type Running = "onnx" | "torch";

/**
 * Writes every training-form BatchNormalization out in portable operators (no backend but the CPU runs the form
 * itself), sharing the batch's statistics with the gradient that {@link Emit} has written before.
 *
 *     y, mean', variance' = BatchNormalization(x, scale, bias, mean, variance) {training_mode}
 *       →  y = scale·(x − m)/√(v + ε) + bias;  mean' = momentum·mean + (1 − momentum)·m;  variance' alike
 *
 * where m, v are the mean and the variance of the batch, each channel's own.
 * @returns for each running statistic that the step is fed its next value
 */
export const lowerBatchNorm = definePass({
  name: "lower-batch-norm",
  options: {
    /** Which variance goes into the running one: `onnx`: the biased; `torch`: the unbiased, times M/(M − 1). */
    running: "onnx" as Running,
  },
  run(graph, { running }, { emit }) {
    const lowered = graph.nodes.filter(isTrainingForm);
    if (lowered.length === 0)
      return unchanged<NextStatistic[]>("no BatchNormalization is in training form", []);
    const statistics = lowered.flatMap((node) => lowerNode(graph, emit, node, running));
    graph.removeNodes(new Set(lowered));
    return changed(counted(lowered.length, "BatchNormalization node"), statistics);
  },
});

function lowerNode(graph: Graph, emit: Emit, node: Node, running: Running): NextStatistic[] {
  const [x, scale, bias] = node.inputs.map((input) => input && typed(input));
  const [output, ...statisticOutputs] = node.outputs;
  if (!x || !scale || !bias || !output) {
    throw new SorthError(`BatchNormalization node "${node.label}" lacks its input, scale, bias or output`);
  }
  const batch = batchStatistics(emit, x);
  const count = elementCount(x.shape) / dimAt(x.shape, 1);
  const unbiased =
    running === "torch" && count > 1 ? emit.mul(batch.variance, count / (count - 1)) : batch.variance;
  const momentum = node.float("momentum", defaultMomentum);
  const next = statisticsOf(node).map((input, i): NextStatistic => {
    const stored = typed(input);
    const current = emit.cast(i === 0 ? batch.mean : unbiased, stored.type);
    return { input, next: emit.add(emit.mul(stored, momentum), emit.mul(current, 1 - momentum)) };
  });
  graph.replaceUses(output, normalizeBatch(emit, node, x, scale, bias), { outputs: true });
  statisticOutputs.forEach((value, i) => {
    if (value && next[i]) graph.replaceUses(value, next[i].next, { outputs: true });
  });
  return next.filter(({ input }) => graph.inputs.includes(input));
}
