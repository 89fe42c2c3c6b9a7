import type { Graph } from "./graph.ts";
import type { Node, Value } from "./node.ts";

/**
 * Puts new values in the place of a node's outputs, for their readers and among the graph's outputs. They take the outputs' names,
 * by which options and sessions call them; the node is removed.
 * @param values - one for each output; none for an output that nobody reads
 */
export function replaceNode(graph: Graph, node: Node, values: readonly (Value | undefined)[]): void {
  const { outputs } = node;
  for (const [i, value] of values.entries()) {
    const output = outputs[i];
    if (output && value) graph.replaceUses(output, value, { outputs: true });
  }
  graph.removeNodes(new Set([node]));
  for (const [i, value] of values.entries()) {
    const output = outputs[i];
    if (output && value) graph.rename(value, output.name);
  }
}
