import { SorthError } from "../errors.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Rule, RuleTable } from "./rule.ts";

/** The values between parameters and loss, known before the walk emits anything. */
interface Reach {
  readonly wrt: readonly Value[];
  /** Values that depend on one of `wrt`. */
  readonly active: ReadonlySet<Value>;
  /** Active values on which the loss depends. */
  readonly wanted: ReadonlySet<Value>;
  /** Names of the values where the path ends; none for a loss. */
  readonly ends: ReadonlyMap<Value, string>;
}

/**
 * The rule of every node on the path.
 * @throws SorthError that names every operator without a rule and, for the first, the path from a parameter to the loss
 */
export function rulesOf(path: readonly Node[], rules: RuleTable, reach: Reach): Map<Node, Rule> {
  const found = new Map<Node, Rule>();
  const refused: Node[] = [];
  for (const node of path) {
    const entry = rules[node.op];
    if (entry && "vjp" in entry && !node.obstacle) found.set(node, entry);
    else refused.push(node);
  }
  // Prefer a node that could not be expanded: its reason explains the refusal better than its neighbours'.
  const first = refused.find(({ obstacle }) => obstacle) ?? refused[0];
  if (!first) return found;
  const entry = rules[first.op];
  const known =
    entry && "refused" in entry ? entry.refused : "no rule for it (see docs/ops.md of sorth-onnx)";
  const reason = first.obstacle ?? known;
  const also = [...new Set(refused.map(({ op }) => op))].filter((op) => op !== first.op);
  const rest = also.length > 0 ? `; also without a derivative: ${also.join(", ")}` : "";
  throw new SorthError(
    `cannot differentiate ${first.op} (node "${first.label}"): ${reason}${onPath(first, reach)}${rest}`,
  );
}

/**
 * Appends the path from parameter to loss to an error that a rule threw itself (about an attribute or a shape). A RangeError is one
 * too: ONNX Runtime infers sizes that its kernels would refuse, and no shape or list can be made of them.
 */
export function withPath(error: unknown, node: Node, reach: Reach): unknown {
  if (error instanceof RangeError)
    return withPath(
      new SorthError(`sizes that do not fit (${error.message})`, { cause: error }),
      node,
      reach,
    );
  if (!(error instanceof SorthError)) return error;
  return new SorthError(`${error.message}${onPath(node, reach)}`, { cause: error });
}

const onPath = (node: Node, reach: Reach) => `; it is needed on the path ${pathThrough(node, reach)}`;

/** `conv1.weight → Conv "conv1" → … → NonZero "nz" → … → loss`. */
function pathThrough(node: Node, { wrt, wanted, active, ends }: Reach): string {
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
  let last = node;
  const next = (from: Node) =>
    from.outputs
      .flatMap((output) => (output && wanted.has(output) ? [...output.uses] : []))
      .map((use) => use.node)
      .find((reader) => !seen.has(reader) && reader.outputs.some((output) => output && wanted.has(output)));
  for (let reader = next(node); reader; reader = next(reader)) {
    seen.add(reader);
    forward.push(`${reader.op} "${reader.label}"`);
    last = reader;
  }
  const [end = "loss"] = [
    ...last.outputs.flatMap((output) => (output && ends.get(output)) ?? []),
    ...ends.values(),
  ];
  // Shorten both halves, but keep the stations next to the node.
  const head = stations.length > 4 ? [...stations.slice(0, 2), "…", ...stations.slice(-1)] : stations;
  const tail = forward.length > 3 ? [...forward.slice(0, 2), "…", ...forward.slice(-1)] : forward;
  return [...head, ...tail, end].join(" → ");
}
