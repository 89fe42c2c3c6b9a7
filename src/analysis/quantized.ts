import type { Graph } from "../graph/graph.ts";

/** Whether a graph has products with weights of a few bits each, which ONNX Runtime may compute with rounded activations. */
export const hasWeightsOfBits = ({ nodes }: Graph): boolean =>
  nodes.some(({ op }) => op === "com.microsoft.MatMulNBits");
