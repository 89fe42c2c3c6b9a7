import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { isRead } from "../graph/reach.ts";
import { runGraphPass } from "../passes/pass.ts";
import { setBatchNormForm } from "../passes/training/batch-norm.ts";

/**
 * Brings a graph that joins the trained model's into inference form: BatchNormalization reads its stored statistics, and no Dropout
 * is left, because training would make every one drop. For opset 14 and above.
 */
export function toInferenceGraph(graph: Graph): void {
  runGraphPass(setBatchNormForm({ mode: "frozen" }), graph);
  for (const node of graph.nodes.filter(({ op }) => op === "Dropout")) {
    const [x] = node.inputs;
    const [y, mask] = node.outputs;
    if (!x || !y || isRead(graph, mask)) {
      throw new SorthError(
        `the mask of Dropout node "${node.label}" is read: export the model for inference`,
      );
    }
    graph.replaceUses(y, x, { outputs: true });
    graph.removeNodes(new Set([node]));
  }
}
