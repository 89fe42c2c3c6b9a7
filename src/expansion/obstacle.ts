import { SorthError } from "../errors.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";

/**
 * Asserts that the type and shape of a value that gradients start from are known.
 * @throws SorthError naming the node that stayed a body or a sequence and hides them, and why it did
 */
export function typedOrHidden(value: Value): Typed {
  const node = value.type && value.shape ? undefined : obstacleBefore(value);
  if (!node) return typed(value);
  throw new SorthError(
    `cannot differentiate ${node.op} (node "${node.label}"): ${node.obstacle}; without it the shape of "${value.name}" is not known`,
  );
}

/** The nearest node before a value that keeps a gradient from passing. */
function obstacleBefore(value: Value): Node | undefined {
  const seen = new Set<Node>();
  const open = [value];
  for (let next = open.shift(); next; next = open.shift()) {
    const node = next.producer;
    if (!node || seen.has(node)) continue;
    if (node.obstacle) return node;
    seen.add(node);
    for (const input of [...node.inputs, ...node.captures]) if (input) open.push(input);
  }
  return undefined;
}
