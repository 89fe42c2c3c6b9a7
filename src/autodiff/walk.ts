import { typedOrHidden } from "../analysis/obstacle.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { rulesOf, withPath } from "./refusal.ts";
import type { Rule, RuleContext, RuleTable, Thunk } from "./rule.ts";

/** A gradient that enters the graph: ∂total/∂value, in the value's shape. One value may have several seeds. */
export interface Seed {
  readonly value: Value;
  readonly gradient: Thunk;
  /** What messages call the value, if it belongs to no loss. */
  readonly name?: string;
}

/**
 * Reverse-mode differentiation: walks the nodes between `wrt` and the seeds backwards and emits the nodes of their
 * gradients. Gradients that nothing needs emit nothing. Only this function sums a gradient over broadcast axes.
 *
 * @returns the gradient of each value of `wrt` on which a seed depends; an absent gradient is zero
 * @throws SorthError before anything is emitted, when an operator on the path has no derivative; the message names the
 * operator, the node and the path that needs it
 */
export function backward(
  graph: Graph,
  options: {
    wrt: readonly Value[];
    seeds: readonly Seed[];
    rules: RuleTable;
    emit: Emit;
    /** Filled by the walk: for each emitted node, the arriving gradient (dy) for which it was emitted. */
    arrivals?: Map<Node, Typed>;
    /** Values whose gradients must be distinct values: an Identity node separates a gradient that two values would share. */
    separate?: ReadonlySet<Value>;
    /** Nodes to walk; results of all other nodes count as constant. Default: all. */
    nodes?: ReadonlySet<Node>;
    /** Values that count as constants, whatever they depend on. */
    detached?: ReadonlySet<Value>;
  },
): Map<Value, Typed> {
  const { wrt, seeds, rules, emit, nodes } = options;
  const order = graph.sorted().filter((node) => nodes?.has(node) ?? true);
  const active = activeValues(order, wrt, rules, options.detached);
  const wanted = wantedValues(order, active, seeds);
  const path = order.filter((node) =>
    node.outputs.some((output) => output && active.has(output) && wanted.has(output)),
  );
  const ends = new Map(seeds.flatMap(({ value, name }) => (name === undefined ? [] : [[value, name]])));
  const reach = { wrt, wanted, active, ends };
  const ruleOf = rulesOf(path, rules, reach);

  const contributions = new Map<Value, Typed[]>();
  const contribute = (value: Value, gradient: Typed) => {
    const list = contributions.get(value);
    if (list) list.push(gradient);
    else contributions.set(value, [gradient]);
  };
  const separated = new Set<Value>();
  const total = (value: Value): Typed | undefined => {
    const list = contributions.get(value);
    if (!list) return undefined;
    const shared = list.length === 1 && options.separate?.has(value) && !separated.has(value);
    const joined = list.reduce((a, b) => emit.add(a, b));
    const sum = shared ? emit.identity(joined) : joined;
    separated.add(value);
    contributions.set(value, [sum]);
    return sum;
  };

  for (const { value, gradient } of seeds) if (active.has(value)) contribute(value, gradient());
  for (const node of path.reverse()) {
    const context = ruleContext(node, total, { rules, wants: (value) => active.has(value) });
    const gradients = node.outputs.map((output) => output && total(output));
    if (gradients.every((gradient) => !gradient)) continue;
    const first = node.outputs.find((output) => output);
    const dy =
      gradients[0] ?? (first && emit.filled(0, typedOrHidden(first).shape, typedOrHidden(first).type));
    if (!dy) throw new SorthError(`${node.op} node "${node.label}" has no output`);
    const reads = [...node.inputs, ...node.captures];
    const before = graph.nodes.length;
    try {
      checkValues(node);
      (ruleOf.get(node) as Rule).vjp(context, dy, emit).forEach((thunk, index) => {
        const input = reads[index];
        if (thunk && input && active.has(input))
          contribute(input, emit.sumTo(thunk(), typedOrHidden(input).shape));
      });
    } catch (error) {
      throw withPath(error, node, reach);
    }
    if (options.arrivals) for (const made of graph.nodes.slice(before)) options.arrivals.set(made, dy);
  }
  const result = new Map<Value, Typed>();
  for (const value of wrt) {
    const gradient = total(value);
    if (gradient) result.set(value, gradient);
  }
  return result;
}

/** Types of quantized numbers, which some operators reshape or pool without converting them to floats. */
const quantized: ReadonlySet<string> = new Set([
  "int8",
  "uint8",
  "int16",
  "uint16",
  "int4",
  "uint4",
  "int2",
  "uint2",
]);

/**
 * Values that depend on one of `wrt` and can have a gradient: floats, values of unknown type, and results of operators
 * without a derivative or with quantized inputs (else a path through quantized numbers would silently count as no path).
 */
function activeValues(
  order: readonly Node[],
  wrt: readonly Value[],
  rules: RuleTable,
  detached: ReadonlySet<Value> = new Set(),
): Set<Value> {
  const active = new Set<Value>(wrt);
  for (const node of order) {
    const entry = rules[node.op];
    if (entry && "constant" in entry) continue;
    const reached = [...node.inputs, ...node.captures].filter((input) => input && active.has(input));
    if (reached.length === 0) continue;
    const differentiable = entry && "vjp" in entry;
    const levels = reached.some((input) => input?.type && quantized.has(input.type));
    for (const output of node.outputs) {
      if (output && detached.has(output)) continue;
      if (output && (!differentiable || levels || !output.type || isFloat(output.type))) active.add(output);
    }
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

/** A float32 value of this many numbers takes 256 GiB. */
const mostOfValue = 2 ** 36;

/**
 * A few bytes of a file can state sizes that no machine holds. Derivatives list positions and weights by size while they are
 * built, so such sizes must be noticed first.
 * @throws SorthError for a value of the node that has more numbers than a machine can hold
 */
function checkValues(node: Node): void {
  for (const value of [...node.inputs, ...node.outputs])
    if (elementCount(value?.shape ?? []) > mostOfValue)
      throw new SorthError(
        `"${value?.name}" has the sizes [${value?.shape}], which need an array larger than any memory: use smaller ones (--batch, --dim)`,
      );
}

/** The context that the walk passes to a rule. `total` returns the sum of the gradients that a value's readers contributed. */
function ruleContext(
  node: Node,
  total: (output: Value) => Typed | undefined,
  walk: Pick<RuleContext, "wants" | "rules">,
): RuleContext {
  const at = (kind: "input" | "output", index: number): Typed => {
    const value = (kind === "input" ? node.inputs : node.outputs)[index];
    if (!value) throw new SorthError(`${kind} ${index} of ${node.op} node "${node.label}" is absent`);
    return typedOrHidden(value);
  };
  const known = (value: Value | null) => value && typedOrHidden(value);
  return {
    node,
    ...walk,
    get inputs() {
      return node.inputs.map(known);
    },
    get outputs() {
      return node.outputs.map(known);
    },
    input: (index) => at("input", index),
    output: (index) => at("output", index),
    gradient: (index) => {
      const output = node.outputs[index];
      return output ? total(output) : undefined;
    },
    constant: (index) => {
      const value = node.inputs[index];
      if (!value) return undefined;
      // An injected block stores its constants as Constant nodes.
      const constant = constantTensor(value);
      if (constant) return constant.numbers();
      throw new SorthError(
        `input ${index} ("${value.name}") of ${node.op} node "${node.label}" is computed from data; ` +
          "its derivative needs it to be constant: fix the model's free dimensions (--dim NAME=N, --batch N)",
      );
    },
  };
}
