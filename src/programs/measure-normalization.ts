import { batchStatistics, normalizeBatch } from "../autodiff/rules/batch-normalization.ts";
import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import { elementCount } from "../onnx/tensor.ts";

/** What a BatchNormalization normalizes with in a batch. */
interface MeasuredNormalization {
  /** Mean and biased variance of the batch, [channels]. */
  readonly mean: Typed;
  readonly variance: Typed;
  readonly channels: number;
  /** What the variance is multiplied with for a running one: N/(N−1) for torch's, which is unbiased; else 1. */
  readonly factor: number;
}

/**
 * Lets a BatchNormalization in inference form normalize with the batch, as in training form, and returns the statistics with which it does.
 * @param node - a BatchNormalization; nothing reads its result afterwards
 * @returns undefined if an input is missing
 */
export function measureNormalization(
  graph: Graph,
  emit: Emit,
  node: Node,
  runningVariance: "onnx" | "torch",
): MeasuredNormalization | undefined {
  const [x, scale, bias] = node.inputs.map((input) => input && typed(input));
  const [y] = node.outputs;
  if (!x || !scale || !bias || !y) return undefined;
  const { mean, variance } = batchStatistics(emit, x);
  graph.replaceUses(y, normalizeBatch(emit, node, x, scale, bias), { outputs: true });
  const [, channels = 1] = x.shape;
  const rows = elementCount(x.shape) / channels;
  return { mean, variance, channels, factor: runningVariance === "torch" ? rows / Math.max(1, rows - 1) : 1 };
}
