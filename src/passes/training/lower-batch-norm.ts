import { isTrainingForm } from "../../analysis/batch-norm-form.ts";
import {
  batchStatistics,
  defaultMomentum,
  normalizeBatch,
} from "../../autodiff/rules/batch-normalization.ts";
import { SorthError } from "../../errors.ts";
import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";
import { type NextStatistic, statisticsOf } from "./batch-norm.ts";

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
  const count = (emit.shards * elementCount(x.shape)) / dimAt(x.shape, 1);
  const unbiased =
    running === "torch" && count > 1 ? emit.mul(batch.variance, count / (count - 1)) : batch.variance;
  const momentum = node.float("momentum", defaultMomentum);
  const next = statisticsOf(node).map((input, i): NextStatistic => {
    const stored = typed(input);
    const current = emit.cast(i === 0 ? batch.mean : unbiased, stored.type);
    const value = emit.add(emit.mul(stored, momentum), emit.mul(current, 1 - momentum));
    return { input, isVariance: i === 1, next: value };
  });
  graph.replaceUses(output, normalizeBatch(emit, node, x, scale, bias), { outputs: true });
  statisticOutputs.forEach((value, i) => {
    if (value && next[i]) graph.replaceUses(value, next[i].next, { outputs: true });
  });
  return next.filter(({ input }) => graph.inputs.includes(input));
}
