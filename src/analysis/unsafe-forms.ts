import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import { isTrainingForm } from "./batch-norm-form.ts";
import { hasWeightsOfBits } from "./quantized.ts";

/** Whether a node is an Attention without the bias, which ONNX Runtime declares as optional and reads all the same. */
export const isUnbiased = ({ op, inputs }: Node): boolean => op === "com.microsoft.Attention" && !inputs[2];

/**
 * Whether a graph holds an operator that in some form makes ONNX Runtime compute wrongly or end the process. A product of
 * something transposed is one if a vector is behind it, which shapes tell.
 */
export const mayBeMiscomputed = (graph: Graph): boolean =>
  hasWeightsOfBits(graph) ||
  graph.nodes.some((node) => isTrainingForm(node) || isUnbiased(node) || node.op === "Transpose");
