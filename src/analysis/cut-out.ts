import { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";

/** A graph of the nodes that compute the given values, and the constants that these read. It has no inputs and no outputs yet. */
export function cutOut(graph: Graph, values: readonly Value[], name: string): Graph {
  const part = new Graph(name, graph.opsets);
  const nodes = new Set<Node>();
  const open: (Value | null)[] = [...values];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (value?.initializer && !part.value(value.name))
      part.addInitializer(value.initializer.named(value.name));
    if (!value?.producer || nodes.has(value.producer)) continue;
    nodes.add(value.producer);
    open.push(...value.producer.inputs, ...value.producer.captures);
  }
  for (const { opType, domain, attributes, inputs, outputs, captures } of nodes) {
    part.addNode({
      ...{ opType, domain, attributes },
      inputs: inputs.map((input) => input && part.reference(input.name)),
      outputs: outputs.map((output) => output?.name ?? null),
      captures: captures.map((captured) => part.reference(captured.name)),
    });
  }
  return part;
}
