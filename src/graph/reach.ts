import type { Node, Value } from "./node.ts";

/** Whether a node reads a value, or the graph returns it. */
export const isRead = (
  { outputs }: { readonly outputs: readonly Value[] },
  value: Value | null | undefined,
): boolean => !!value && (value.uses.size > 0 || outputs.includes(value));

/** Every node on which one of the values depends, through inputs and captured values. */
export function ancestorsOf(values: Iterable<Value>): Set<Node> {
  const found = new Set<Node>();
  const open = [...values].flatMap(({ producer }) => producer ?? []);
  for (let node = open.pop(); node; node = open.pop()) {
    if (found.has(node)) continue;
    found.add(node);
    for (const value of [...node.inputs, ...node.captures]) if (value?.producer) open.push(value.producer);
  }
  return found;
}

/** The given values, and every value that depends on one of them. */
export function descendantsOf(values: Iterable<Value>): Set<Value> {
  const reached = new Set(values);
  // The iterator of a Set also visits values added during the loop.
  for (const value of reached) {
    for (const { node } of value.uses) for (const output of node.outputs) if (output) reached.add(output);
  }
  return reached;
}
