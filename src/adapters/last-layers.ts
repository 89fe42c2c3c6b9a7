import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";

/** Operators that may stand between the last layer and an output. */
const passing = new Set([
  ...["Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid", "Relu", "Clip", "Identity", "Cast", "Dropout"],
  ...["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Add", "Mul", "Div"],
  ...["Gather", "GatherND"],
  ...["GlobalAveragePool", "GlobalMaxPool", "AveragePool", "ReduceMean"],
]);

/**
 * The nodes at which the last layers end: those that the float outputs read, through bias, Softmax, pooling and changes of
 * shape.
 * @param ends - the nodes at which the layers of the graph end
 */
export function lastLayers(graph: Graph, ends: ReadonlySet<Node>): ReadonlySet<Node> {
  const last = new Set<Node>();
  for (const output of graph.outputs) {
    if (!isFloat(output.type)) continue;
    let node = output.producer;
    while (node && !ends.has(node) && node.domain === "" && passing.has(node.opType)) {
      const data = node.inputs.filter(
        (input) => input && !input.initializer && input.producer?.op !== "Constant",
      );
      // A sum of two branches has no single last layer.
      node =
        data.length === 1 || !["Add", "Mul", "Div"].includes(node.opType) ? data[0]?.producer : undefined;
    }
    if (node && ends.has(node)) last.add(node);
  }
  return last;
}
