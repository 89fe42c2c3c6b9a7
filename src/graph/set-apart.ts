import type { Graph } from "./graph.ts";
import type { Value } from "./node.ts";

/**
 * Puts an Identity between a value and the node that computes it. The value, its readers and its name stay, so that rewrites of
 * the operators before it no longer reach across it.
 *
 *     v = Sigmoid(x)  →  v = Identity(Sigmoid(x))
 */
export function setApart(graph: Graph, value: Value): void {
  const { producer, type, shape } = value;
  if (!producer) throw new RangeError(`"${value.name}" is computed by no node`);
  const before = graph.reference(graph.freshName(`${value.name}/apart`));
  producer.outputs[producer.outputs.indexOf(value)] = before;
  Object.assign(before, { producer, type, shape });
  value.producer = undefined;
  graph.addNode({
    opType: "Identity",
    name: graph.freshName(before.name),
    inputs: [before],
    outputs: [value.name],
  });
}
