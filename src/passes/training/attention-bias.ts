import { isUnbiased } from "../../analysis/unsafe-forms.ts";
import { zeroBias } from "../../analysis/zero-bias.ts";
import { SorthError } from "../../errors.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { changes, defineGraphPass } from "../pass.ts";

/**
 * Gives com.microsoft's Attention the bias that it may leave out: ONNX Runtime's CPU kernel ends the process without one.
 *
 *     y = Attention(x, W)  →  y = Attention(x, W, 0)
 */
export const attentionBias = defineGraphPass({
  name: "attention-bias",
  options: {},
  run(graph) {
    const nodes = graph.nodes.filter(isUnbiased);
    for (const node of nodes) addZeros(graph, node);
    return changes(nodes.length, "Attention node", "every Attention has a bias");
  },
});

function addZeros(graph: Graph, node: Node): void {
  const [, weight] = node.inputs;
  const columns = (weight?.initializer?.dims ?? weight?.shape)?.[1];
  const type = weight?.initializer?.type ?? weight?.type;
  if (columns === undefined || (type !== "float" && type !== "float16")) {
    throw new SorthError(
      `Attention "${node.label}" has no bias, without which ONNX Runtime ends the process: export it with a bias`,
    );
  }
  const bias = zeroBias(graph.freshName(`${node.label}.bias`), type, columns);
  graph.appendInput(node, 2, graph.addInitializer(bias));
}
