import { changed, counted, defineGraphPass, unchanged } from "../pass.ts";

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
    return nodes.length > 0
      ? changed(counted(nodes.length, "Dropout node"))
      : unchanged("no Dropout is in training mode");
  },
});
