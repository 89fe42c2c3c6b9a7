import { isTransposedTimesVector } from "../../analysis/transposed-times-vector.ts";
import type { Node, Value } from "../../graph/node.ts";
import { changes, defineGraphPass } from "../pass.ts";

/**
 * Puts the vector in front of the matrix: ONNX Runtime fuses the Transpose into the product, and the fused operator computes
 * something else where its second operand is a vector.
 *
 *     y = MatMul(Transpose(W), v)  →  y = MatMul(v, W)
 */
export const vectorProducts = defineGraphPass({
  name: "vector-products",
  options: {},
  run(graph) {
    const nodes = graph.nodes.filter(isTransposedTimesVector);
    for (const node of nodes) {
      const [transposed, vector] = node.inputs as [Value, Value];
      const transpose = transposed.producer as Node;
      graph.setInput({ node, index: 0 }, vector);
      graph.setInput({ node, index: 1 }, transpose.inputs[0] as Value);
      if (transposed.uses.size === 0 && !graph.outputs.includes(transposed)) {
        graph.removeNodes(new Set([transpose]));
      }
    }
    return changes(nodes.length, "product", "no transposed matrix is multiplied with a vector");
  },
});
