import { constantOf } from "../../analysis/probe-model.ts";
import type { Node } from "../../graph/node.ts";
import { changes, defineGraphPass } from "../pass.ts";

/**
 * Turns Constant nodes that hold a tensor into initializers of the same name: there they can be parameters.
 *
 *     w = Constant() {value}  →  const w
 */
export const liftConstants = defineGraphPass({
  name: "lift-constants",
  options: {},
  run(graph) {
    const lifted = new Set<Node>();
    for (const node of graph.nodes) {
      const tensor = constantOf(node);
      const output = node.outputs[0];
      if (!tensor || !output) continue;
      graph.setConstant(output, tensor);
      output.fromNode = true;
      lifted.add(node);
    }
    graph.removeNodes(lifted);
    return changes(lifted.size, "Constant node", "no Constant node holds a tensor");
  },
});
