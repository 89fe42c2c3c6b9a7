import { isTrainingForm } from "../../analysis/batch-norm-form.ts";
import { hidesStatistics } from "../../analysis/overwritten-parameters.ts";
import { float } from "../../graph/attribute.ts";
import { changes, defineGraphPass } from "../pass.ts";

/**
 * Keeps running statistics that nobody reads as they are. ONNX Runtime's CPU kernel writes them into its inputs, and computes y
 * wrongly where graph optimization has made such an input one with the scale or bias (microsoft/onnxruntime issue 29790).
 *
 *     y, m, v = BatchNormalization(…) {training_mode, momentum=0.9}, nobody reads m and v  →  y, m, v = … {training_mode, momentum=1}
 */
export const stillStatistics = defineGraphPass({
  name: "still-statistics",
  options: {},
  run(graph) {
    const outputs = new Set(graph.outputs);
    const nodes = graph.nodes.filter(
      (node) => isTrainingForm(node) && node.float("momentum", 0.9) !== 1 && hidesStatistics(node, outputs),
    );
    for (const node of nodes) node.attributes.set("momentum", float(1));
    return changes(
      nodes.length,
      "BatchNormalization node",
      "no BatchNormalization in training form hides its running statistics",
    );
  },
});
