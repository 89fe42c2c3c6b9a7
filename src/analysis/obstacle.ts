import { SorthError } from "../errors.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";

/**
 * Asserts that the type and shape of a value are known, because gradients start from it.
 * @throws SorthError naming the body or sequence that could not be expanded and hides them, with the reason
 */
export function typedOrHidden(value: Value): Typed {
  if (value.type && value.shape) return typed(value);
  const node = nearestBefore(value, ({ obstacle }) => obstacle !== undefined);
  const free = node ? undefined : nearestBefore(value, ({ op }) => ofDataLength.has(op));
  if (free) {
    throw new SorthError(
      `the shape of "${value.name}" is not known: how many elements ${free.op} (node "${free.label}") finds depends on the data`,
    );
  }
  if (!node) return typed(value);
  throw new SorthError(
    `cannot differentiate ${node.op} (node "${node.label}"): ${node.obstacle}; without it the shape of "${value.name}" is not known`,
  );
}

/** Operators whose output length depends on the data. */
const ofDataLength = new Set(["NonZero", "Unique", "Compress", "NonMaxSuppression", "StringSplit"]);

/** The nearest matching node upstream of a value. */
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
