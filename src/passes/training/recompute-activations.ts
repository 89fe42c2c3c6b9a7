import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Use, Value } from "../../graph/node.ts";
import { isFloat } from "../../onnx/data-types.ts";
import { changed, definePass, unchanged } from "../pass.ts";
import { bytesOf, dependents, late } from "./late.ts";

/** Operators that cost about as much as reading their input: elementwise, or only moving or renaming elements. */
const cheap = new Set([
  ...["Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Sin", "Cos", "Tanh", "Sigmoid", "Erf"],
  ...["Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Softplus", "Softsign", "Gelu", "Swish", "Mish"],
  ...["HardSigmoid", "HardSwish", "ThresholdedRelu", "Clip", "Floor", "Ceil", "Round", "Identity", "Cast"],
  ...["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Where", "Not", "And", "Or"],
  ...["Sign", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"],
  ...["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"],
  // With stored statistics one multiplication and one addition ({@link Emit.affine}).
  "BatchNormalization",
]);

/** Smaller values (in bytes) are kept: recomputing them would add more nodes than it saves memory. */
const smallest = 4096;

/**
 * Trades time for memory: recomputes activations when their gradient arrives instead of keeping them, if the backward pass
 * reads them and cheap operators compute them from values that are kept anyway. Numbers stay the same, bit for bit.
 *
 *     a = Relu(x); …; dx = f(dy, a)  →  a = Relu(x); …; a' = Relu(x − 0·dy); dx = f(dy, a')
 *
 * ONNX Runtime merges equal nodes, and runs nodes early that could run late. So the recomputation starts from the kept value
 * minus a zero that is computed from the gradient.
 */
export const recomputeActivations = definePass({
  name: "recompute-activations",
  options: {
    /** Nodes of the gradients, each with the gradient at whose arrival it was emitted. */
    arrivals: new Map() as ReadonlyMap<Node, Typed>,
  },
  run(graph, { arrivals }, { emit, onMessage }) {
    const { values, bytes } = recompute(graph, emit, arrivals);
    const detail = `${values} activations (${(bytes / 2 ** 20).toFixed(1)} MiB) are computed again instead of kept`;
    onMessage?.(`recompute: ${detail}`);
    return values > 0 ? changed(detail) : unchanged(detail);
  },
});

/** @returns how many values are computed again, and how many bytes need not be kept for the backward pass any more */
function recompute(
  graph: Graph,
  emit: Emit,
  arrivals: ReadonlyMap<Node, Typed>,
): { readonly values: number; readonly bytes: number } {
  const order = graph.sorted();
  const backward = dependents(order, new Set(arrivals.values()));
  const readers = (value: Value): Use[] =>
    [...value.uses].filter(({ node, index }) => backward.has(node) && index >= 0);
  const forward = order.filter((node) => !backward.has(node));
  const kept = new Set<Value>();
  for (const node of forward) {
    for (const output of node.outputs) {
      if (output && (readers(output).length > 0 || graph.outputs.includes(output))) kept.add(output);
    }
  }
  const chosen = choose(forward, kept, (value) => readers(value).every(({ node }) => arrivals.has(node)));

  // In the order of the first readers: a later reader may share a value that was computed for an earlier one, not the reverse.
  const position = new Map(order.map((node, index) => [node, index]));
  const firstReader = (value: Value): number =>
    readers(value).reduce((first, { node }) => Math.min(first, position.get(node) ?? 0), order.length);
  const inOrder = chosen
    .map((value) => ({ value, at: firstReader(value) }))
    .filter(({ at }) => at < order.length)
    .sort((a, b) => a.at - b.at);
  const again = new Map<Value, Value>();
  let bytes = 0;
  for (const { value, at } of inOrder) {
    const arrival = arrivals.get(order[at] as Node) as Typed;
    const uses = readers(value);
    const copy = computeAgain(graph, emit, value, { kept, again, arrival });
    for (const use of uses) graph.setInput(use, copy);
    bytes += bytesOf(value);
  }
  return { values: chosen.length, bytes };
}

/** Chooses the values to compute again rather than keep, in forward order. They leave `kept`; their sources join it. */
function choose(
  forward: readonly Node[],
  kept: Set<Value>,
  arrives: (value: Value) => boolean,
): readonly Value[] {
  const chosen = new Set<Value>();
  // Values that need another value kept instead: together they may save memory where each alone does not.
  const groups = new Map<string, { values: Value[]; missing: readonly Value[] }>();
  for (const node of forward) {
    const [value] = node.outputs;
    if (!value || !kept.has(value) || !isCheap(node) || bytesOf(value) < smallest || !arrives(value))
      continue;
    const sources = [...sourcesOf(node, kept)];
    if (!sources.some(({ type }) => isFloat(type))) continue;
    const missing = sources.filter((source) => !kept.has(source));
    if (missing.length === 0) {
      kept.delete(value);
      chosen.add(value);
      continue;
    }
    const key = missing.map(({ name }) => name).join("\n");
    const group = groups.get(key) ?? { values: [], missing };
    group.values.push(value);
    groups.set(key, group);
  }
  const total = (values: readonly Value[]) => values.reduce((sum, value) => sum + bytesOf(value), 0);
  for (const { values, missing } of groups.values()) {
    if (total(missing.filter((value) => !kept.has(value))) >= total(values)) continue;
    for (const value of values) {
      kept.delete(value);
      chosen.add(value);
    }
    for (const source of missing) kept.add(source);
  }
  return [...chosen];
}

/** The values from which cheap operators compute a node's result: kept values, and results of expensive operators. */
function sourcesOf(node: Node, kept: ReadonlySet<Value>): Set<Value> {
  const sources = new Set<Value>();
  const open = [...node.inputs];
  const seen = new Set<Value>();
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (!value || value.initializer || seen.has(value)) continue;
    seen.add(value);
    if (!value.producer || kept.has(value) || !isCheap(value.producer)) sources.add(value);
    else open.push(...value.producer.inputs);
  }
  return sources;
}

const isCheap = (node: Node): boolean =>
  node.domain === "" &&
  cheap.has(node.opType) &&
  node.outputs.length === 1 &&
  node.captures.length === 0 &&
  !node.flag("training_mode");

/** The value once more, from sources that wait for the gradient to arrive. */
function computeAgain(
  graph: Graph,
  emit: Emit,
  value: Value,
  state: { kept: ReadonlySet<Value>; again: Map<Value, Value>; arrival: Typed },
): Value {
  const known = state.again.get(value);
  if (known) return known;
  const node = value.producer as Node;
  const inputs = node.inputs.map((input) => {
    if (!input || input.initializer) return input;
    const { producer } = input;
    if (!producer || state.kept.has(input) || !isCheap(producer))
      return late(emit, typed(input), [state.arrival]);
    return computeAgain(graph, emit, input, state);
  });
  const { type, shape } = typed(value);
  const copy = emit.op(node.opType, inputs, shape, {
    type,
    attributes: Object.fromEntries(node.attributes),
    name: `again/${node.opType}`,
  });
  state.again.set(value, copy);
  return copy;
}
