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
 * Puts every BatchNormalization into the form in which it is to run (DESIGN §5.10): `train` normalizes with the
 * statistics of the batch and updates the running ones, `frozen` normalizes with the stored ones.
 * For opset 14 and above, before shapes are inferred.
 */
export function setBatchNormForm(graph: Graph, mode: "train" | "frozen"): void {
  for (const node of graph.nodes) {
    if (node.op !== "BatchNormalization") continue;
    if (mode === "train") toTrainingForm(graph, node);
    else if (isTrainingForm(node)) toInferenceForm(graph, node);
  }
}

function toTrainingForm(graph: Graph, node: Node): void {
  node.attributes.set("training_mode", int(1));
  // ONNX Runtime takes the training form with three outputs only.
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

/** The running statistics of every training-form node whose statistics the model stores; those are state. */
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

/**
 * Writes every training-form BatchNormalization out in portable operators (no backend but the CPU runs the form
 * itself), sharing the batch's statistics with the gradient that {@link Emit} has written before.
 * @param running - "onnx": the biased variance goes into the running one; "torch": the unbiased, times M/(M−1)
 * @returns for each running statistic that the step is fed its next value:
 * `momentum·running + (1 − momentum)·batch`
 */
export function lowerBatchNorm(graph: Graph, emit: Emit, running: "onnx" | "torch"): NextStatistic[] {
  const lowered = graph.nodes.filter(isTrainingForm);
  const statistics = lowered.flatMap((node) => lowerNode(graph, emit, node, running));
  graph.removeNodes(new Set(lowered));
  return statistics;
}

function lowerNode(graph: Graph, emit: Emit, node: Node, running: "onnx" | "torch"): NextStatistic[] {
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
