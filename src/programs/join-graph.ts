import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** How {@link joinGraph} takes a graph over. */
interface JoinOptions {
  /** The value of the receiving graph for each input of the other one. */
  readonly joined: ReadonlyMap<Value, Value>;
  /** Prefix of every name. */
  readonly prefix: string;
  /** A constant as the receiving graph holds it, under a new name. */
  readonly constant: (tensor: Tensor, name: string) => Tensor;
}

/**
 * Copies the nodes and constants of one graph into another, which then computes its values too. The copied graph is used up.
 * @returns the value of the receiving graph for one of the other
 */
export function joinGraph(
  graph: Graph,
  other: Graph,
  { joined, prefix, constant }: JoinOptions,
): (value: Value) => Value {
  for (const [domain, version] of other.opsets) {
    graph.opsets.set(domain, Math.max(version, graph.opsets.get(domain) ?? 0));
  }
  const fresh = (name: string) => graph.freshName(`${prefix}${name}`);
  // Bodies capture by name, so values get their new names while they are still in their own graph.
  for (const value of [...other.values]) other.rename(value, other.freshName(fresh(value.name)));
  for (const [input, there] of joined) {
    const same = other.value(there.name);
    if (same) other.replaceUses(input, same);
    else other.rename(input, there.name);
  }
  for (const { name, initializer } of other.initializers) {
    if (initializer) graph.addInitializer(constant(initializer, name));
  }
  const at = ({ name }: Value) => graph.valueNamed(name);
  for (const node of other.sorted()) {
    const copy = graph.addNode({
      ...{ opType: node.opType, domain: node.domain, overload: node.overload },
      // A node with the name of its output got the prefix together with it.
      name: node.name === "" || node.name.startsWith(prefix) ? node.name : fresh(node.name),
      ...{ attributes: node.attributes, metadata: node.metadata },
      inputs: node.inputs.map((value) => value && at(value)),
      outputs: node.outputs.map((value) => value?.name ?? null),
      captures: node.captures.map(at),
    });
    copy.obstacle = node.obstacle;
  }
  return at;
}
