import type { Node } from "../../graph/node.ts";
import { changed, defineGraphPass, unchanged } from "../pass.ts";

/**
 * Orders the nodes so that ONNX Runtime opens the graph faster. It sorts the nodes before each of its optimizers, and
 * walks over the list of all nodes whose inputs are ready for every node that it adds to it. Among these it takes the one
 * that comes first in the file. So nodes that read only inputs and constants come first (an optimizer's products with its
 * own state would otherwise wait to the end), and each other node comes as soon as its inputs are there.
 *
 *     forward, gradients, optimizer  →  what reads only inputs, then forward, gradients with the update that each one feeds
 */
export const openQuickly = defineGraphPass({
  name: "open-quickly",
  options: {},
  run(graph) {
    const before = graph.sorted();
    const after = withShortQueue(before);
    if (after.every((node, i) => node === graph.nodes[i])) return unchanged("the nodes are in that order");
    graph.reorder(after);
    return changed(`at most ${longestQueue(after)} nodes wait (before: ${longestQueue(before)})`);
  },
});

/** Nodes that read only inputs and constants, then every node as soon as its inputs are there, the newest first. */
function withShortQueue(nodes: readonly Node[]): Node[] {
  const waits = new Waiting(nodes);
  const order = nodes.filter((node) => waits.isReady(node));
  const position = new Map(nodes.map((node, i) => [node, i]));
  const stack = order
    .flatMap((node) => waits.readyAfter(node))
    .sort((a, b) => (position.get(b) ?? 0) - (position.get(a) ?? 0));
  for (let node = stack.pop(); node; node = stack.pop()) {
    order.push(node);
    stack.push(...waits.readyAfter(node).reverse());
  }
  return order;
}

/** The most nodes that are ready at one time, if they are taken in this order. */
function longestQueue(order: readonly Node[]): number {
  const waits = new Waiting(order);
  let ready = order.filter((node) => waits.isReady(node)).length;
  let most = ready;
  for (const node of order) {
    ready += waits.readyAfter(node).length - 1;
    most = Math.max(most, ready);
  }
  return most;
}

/** The nodes of a graph that wait for others. */
class Waiting {
  /** Number of the nodes that each one waits for. */
  readonly #open = new Map<Node, number>();
  readonly #readers = new Map<Node, Node[]>();

  constructor(nodes: readonly Node[]) {
    for (const node of nodes) {
      const producers = new Set([...node.inputs, ...node.captures].flatMap((value) => value?.producer ?? []));
      this.#open.set(node, producers.size);
      for (const producer of producers) {
        const readers = this.#readers.get(producer);
        if (readers) readers.push(node);
        else this.#readers.set(producer, [node]);
      }
    }
  }

  isReady(node: Node): boolean {
    return this.#open.get(node) === 0;
  }

  /** The nodes that become ready when a node is done. */
  readyAfter(node: Node): Node[] {
    return (this.#readers.get(node) ?? []).filter((reader) => {
      const open = (this.#open.get(reader) ?? 0) - 1;
      this.#open.set(reader, open);
      return open === 0;
    });
  }
}
