import type { Graph } from "../../graph/graph.ts";
import { changes, defineGraphPass, runGraphPass } from "../pass.ts";
import { setBatchNormForm } from "./batch-norm.ts";

/**
 * Takes every Dropout out of training mode: without its third input it returns its input unchanged.
 *
 *     y = Dropout(x, ratio, true)  →  y = Dropout(x, ratio)
 */
export const stopDropout = defineGraphPass({
  name: "stop-dropout",
  options: {},
  run(graph) {
    const nodes = graph.nodes.filter(({ op, inputs }) => op === "Dropout" && inputs[2]);
    for (const node of nodes) graph.dropNodeInputs(node, 2);
    return changes(nodes.length, "Dropout node", "no Dropout is in training mode");
  },
});

/** Takes BatchNormalization and Dropout out of training mode: they read their stored statistics, and drop nothing. */
export function leaveTrainingMode(graph: Graph): void {
  runGraphPass(setBatchNormForm({ mode: "frozen" }), graph);
  runGraphPass(stopDropout(), graph);
}
