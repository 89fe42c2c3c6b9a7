import { SorthError } from "../errors.ts";
import type { Node } from "./node.ts";

/**
 * Nodes in topological order; otherwise in the given order.
 * @param nodes - all nodes of a graph; of a set, only its members are visited, whatever the size of the graph
 * @throws SorthError when the graph has a cycle
 */
export function nodesInOrder(nodes: readonly Node[] | ReadonlySet<Node>): Node[] {
  const isLeftOut = (node: Node) => nodes instanceof Set && !nodes.has(node);
  const order: Node[] = [];
  const state = new Map<Node, "open" | "done">();
  for (const root of nodes) {
    const stack: { node: Node; next: number }[] = state.has(root) ? [] : [{ node: root, next: 0 }];
    while (stack.length > 0) {
      const top = stack[stack.length - 1] as { node: Node; next: number };
      const { node } = top;
      state.set(node, state.get(node) ?? "open");
      const reads = node.captures.length > 0 ? [...node.inputs, ...node.captures] : node.inputs;
      if (top.next >= reads.length) {
        state.set(node, "done");
        order.push(node);
        stack.pop();
        continue;
      }
      const producer = reads[top.next++]?.producer;
      if (!producer || state.get(producer) === "done" || isLeftOut(producer)) continue;
      if (state.get(producer) === "open") {
        throw new SorthError(`the graph has a cycle through node "${producer.label}"`);
      }
      stack.push({ node: producer, next: 0 });
    }
  }
  return order;
}
