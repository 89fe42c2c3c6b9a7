import { SorthError } from "../errors.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";

/**
 * Asserts that the type and shape of a value that gradients start from are known.
 * @throws SorthError naming the node that stayed a body or a sequence and hides them, and why it did
 */
export function typedOrHidden(value: Value): Typed {
  if (value.type && value.shape) return typed(value);
  const node = nearestBefore(value, ({ obstacle }) => obstacle !== undefined);
  const free = node ? undefined : nearestBefore(value, ({ op }) => ofDataLength.has(op));
  if (free) {
    throw new SorthError(
      `the shape of "${value.name}" is not known: how many elements ${free.op} (node "${free.label}") finds depends on the data, and gradients need static shapes`,
    );
  }
  if (!node) return typed(value);
  throw new SorthError(
    `cannot differentiate ${node.op} (node "${node.label}"): ${node.obstacle}; without it the shape of "${value.name}" is not known`,
  );
}

/** Operators whose result is as long as the data makes it. */
const ofDataLength = new Set(["NonZero", "Unique", "Compress", "NonMaxSuppression", "StringSplit"]);

/** The nearest node of a kind before a value. */
function nearestBefore(value: Value, isWanted: (node: Node) => boolean): Node | undefined {
  const seen = new Set<Node>();
  const open = [value];
  for (let next = open.shift(); next; next = open.shift()) {
    const node = next.producer;
    if (!node || seen.has(node)) continue;
    if (isWanted(node)) return node;
    seen.add(node);
    for (const input of [...node.inputs, ...node.captures]) if (input) open.push(input);
  }
  return undefined;
}
