import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";

/** Operators of com.microsoft that only graphs made by ONNX Runtime's own training tools hold. */
const trainingOps =
  /(Grad|^InPlaceAccumulator(V2)?|^SGDOptimizer(V2)?|^AdamWOptimizer|^BatchNormInternal|^ConcatTraining)$/;

/** A node by which a graph shows that ONNX Runtime's training tools made it; undefined for any other graph. */
export function trainingNode(graph: Graph): Node | undefined {
  return graph.nodes.find((node) => node.domain === "com.microsoft" && trainingOps.test(node.opType));
}
