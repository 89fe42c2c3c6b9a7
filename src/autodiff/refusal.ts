import { SorthError } from "../errors.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Rule, RuleTable } from "./rule.ts";

/** What the walk knows of a graph before it emits anything. */
export interface Reach {
  readonly wrt: readonly Value[];
  /** Values that depend on one of `wrt`. */
  readonly active: ReadonlySet<Value>;
  /** Active values on which the loss depends. */
  readonly wanted: ReadonlySet<Value>;
}

/**
 * The rule of every node on the way.
 * @throws SorthError naming every operator without one, and the path from a parameter to the loss for the first
 */
export function rulesOf(path: readonly Node[], rules: RuleTable, reach: Reach): Map<Node, Rule> {
  const found = new Map<Node, Rule>();
  const refused: Node[] = [];
  for (const node of path) {
    const entry = rules[node.op];
    if (entry && "vjp" in entry && !node.obstacle) found.set(node, entry);
    else refused.push(node);
  }
  // A node that stayed what it is for a reason of its own says more than those around it.
  const first = refused.find(({ obstacle }) => obstacle) ?? refused[0];
  if (!first) return found;
  const entry = rules[first.op];
  const known =
    entry && "refused" in entry ? entry.refused : "no rule for it (see docs/ops.md of sorth-onnx)";
  const reason = first.obstacle ?? known;
  const also = [...new Set(refused.map(({ op }) => op))].filter((op) => op !== first.op);
  const rest = also.length > 0 ? `; without a derivative are also ${also.join(", ")}` : "";
  throw new SorthError(
    `cannot differentiate ${first.op} (node "${first.label}"): ${reason}${onPath(first, reach)}${rest}`,
  );
}

/** A rule's own refusal (an attribute, a shape), with the path on which it is needed. */
export function withPath(error: unknown, node: Node, reach: Reach): unknown {
  if (!(error instanceof SorthError)) return error;
  return new SorthError(`${error.message}${onPath(node, reach)}`, { cause: error });
}

const onPath = (node: Node, reach: Reach) => `; it is needed on the path ${pathThrough(node, reach)}`;

/** `conv1.weight → Conv "conv1" → … → NonZero "nz" → … → loss`. */
function pathThrough(node: Node, { wrt, wanted, active }: Reach): string {
  const sources = new Set(wrt);
  const stations: string[] = [];
  let current: Node | undefined = node;
  const seen = new Set<Node>();
  while (current && !seen.has(current)) {
    seen.add(current);
    stations.unshift(`${current.op} "${current.label}"`);
    const inputs: Value[] = [...current.inputs, ...current.captures].filter(
      (value): value is Value => !!value && active.has(value),
    );
    const source = inputs.find((input) => sources.has(input));
    if (source) {
      stations.unshift(source.name);
      break;
    }
    current = inputs.find((input) => input.producer)?.producer;
  }
  const forward: string[] = [];
  const next = (from: Node) =>
    from.outputs
      .flatMap((output) => (output && wanted.has(output) ? [...output.uses] : []))
      .map((use) => use.node)
      .find((reader) => !seen.has(reader) && reader.outputs.some((output) => output && wanted.has(output)));
  for (let reader = next(node); reader; reader = next(reader)) {
    seen.add(reader);
    forward.push(`${reader.op} "${reader.label}"`);
  }
  // The end towards the node stays: what stands between the parameter and it, and what follows it.
  const head = stations.length > 4 ? [...stations.slice(0, 2), "…", ...stations.slice(-1)] : stations;
  const tail = forward.length > 3 ? [...forward.slice(0, 2), "…", ...forward.slice(-1)] : forward;
  return [...head, ...tail, "loss"].join(" → ");
}
