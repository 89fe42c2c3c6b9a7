import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { ruleContext } from "./context.ts";
import type { Rule, RuleTable, Thunk } from "./rule.ts";

/** Where a gradient enters the graph: ∂total/∂value, in the value's shape. Several may enter at one value. */
export interface Seed {
  readonly value: Value;
  readonly gradient: Thunk;
}

/**
 * Reverse-mode differentiation: walks the nodes between `wrt` and the seeds backwards and adds, through `g`, the nodes
 * of the gradients. A gradient nobody asked for emits nothing; a gradient is summed to its value's shape here alone.
 *
 * @returns the gradient of each value of `wrt` that the seeds depend on; absent means zero
 * @throws SorthError before anything is emitted, when an operator on the way has no derivative: which operator, which
 * node, and the path that needs it
 */
export function backward(
  graph: Graph,
  options: { wrt: readonly Value[]; seeds: readonly Seed[]; rules: RuleTable; emit: Emit },
): Map<Value, Typed> {
  const { wrt, seeds, rules, emit } = options;
  const order = graph.sorted();
  const active = activeValues(order, wrt, rules);
  const wanted = wantedValues(order, active, seeds);
  const path = order.filter((node) =>
    node.outputs.some((output) => output && active.has(output) && wanted.has(output)),
  );
  const ruleOf = new Map(
    path.map((node) => [node, requireRule(node, rules, { order, wrt, wanted, active })]),
  );

  const contributions = new Map<Value, Typed[]>();
  const contribute = (value: Value, gradient: Typed) => {
    const list = contributions.get(value);
    if (list) list.push(gradient);
    else contributions.set(value, [gradient]);
  };
  const total = (value: Value): Typed | undefined => {
    const list = contributions.get(value);
    if (!list) return undefined;
    const sum = list.reduce((a, b) => emit.add(a, b));
    contributions.set(value, [sum]);
    return sum;
  };

  for (const { value, gradient } of seeds) if (active.has(value)) contribute(value, gradient());
  for (const node of path.reverse()) {
    const context = ruleContext(node, total);
    const gradients = node.outputs.map((output) => output && total(output));
    if (gradients.every((gradient) => !gradient)) continue;
    const [first] = node.outputs;
    const dy = gradients[0] ?? (first && emit.filled(0, typed(first).shape, typed(first).type));
    if (!dy) throw new SorthError(`${node.op} node "${node.label}" has no first output`);
    (ruleOf.get(node) as Rule).vjp(context, dy, emit).forEach((thunk, index) => {
      const input = node.inputs[index];
      if (thunk && input && active.has(input)) contribute(input, emit.sumTo(thunk(), typed(input).shape));
    });
  }
  const result = new Map<Value, Typed>();
  for (const value of wrt) {
    const gradient = total(value);
    if (gradient) result.set(value, gradient);
  }
  return result;
}

/** Float values that depend on one of `wrt`. */
function activeValues(order: readonly Node[], wrt: readonly Value[], rules: RuleTable): Set<Value> {
  const active = new Set<Value>(wrt);
  for (const node of order) {
    const entry = rules[node.op];
    if (entry && "constant" in entry) continue;
    if (![...node.inputs, ...node.captures].some((input) => input && active.has(input))) continue;
    for (const output of node.outputs) if (output && isFloat(output.type)) active.add(output);
  }
  return active;
}

/** Active values on which a seed depends. */
function wantedValues(
  order: readonly Node[],
  active: ReadonlySet<Value>,
  seeds: readonly Seed[],
): Set<Value> {
  const wanted = new Set<Value>(seeds.map(({ value }) => value).filter((value) => active.has(value)));
  for (const node of [...order].reverse()) {
    if (!node.outputs.some((output) => output && wanted.has(output))) continue;
    for (const input of [...node.inputs, ...node.captures]) if (input && active.has(input)) wanted.add(input);
  }
  return wanted;
}

function requireRule(
  node: Node,
  rules: RuleTable,
  where: {
    order: readonly Node[];
    wrt: readonly Value[];
    wanted: ReadonlySet<Value>;
    active: ReadonlySet<Value>;
  },
): Rule {
  const entry = rules[node.op];
  if (entry && "vjp" in entry) return entry;
  const reason = entry && "refused" in entry ? entry.refused : "no rule for it yet (see docs/ops.md)";
  throw new SorthError(
    `cannot differentiate ${node.op} (node "${node.label}"): ${reason}; it is needed on the path ${pathThrough(node, where)}`,
  );
}

/** `conv1.weight → Conv "conv1" → … → NonZero "nz" → … → loss`, at most six stations. */
function pathThrough(
  node: Node,
  { wrt, wanted, active }: { wrt: readonly Value[]; wanted: ReadonlySet<Value>; active: ReadonlySet<Value> },
): string {
  const sources = new Set(wrt);
  const stations: string[] = [];
  let current: Node | undefined = node;
  const seen = new Set<Node>();
  while (current && !seen.has(current)) {
    seen.add(current);
    stations.unshift(`${current.op} "${current.label}"`);
    const inputs: Value[] = [...current.inputs, ...current.captures].filter(
      (v): v is Value => !!v && active.has(v),
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
  const short = (list: string[]) => (list.length > 3 ? [...list.slice(0, 2), "…", ...list.slice(-1)] : list);
  return [...short(stations), ...short(forward), "loss"].join(" → ");
}
