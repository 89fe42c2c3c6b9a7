import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";

/** Operators that are computed in half precision: products, which is where the time goes. */
const products: ReadonlySet<string> = new Set(["MatMul", "Gemm", "Conv", "ConvTranspose"]);

/**
 * Operators that stay in half precision between two products. They lose nothing by it that the product behind them would not
 * lose: they move numbers, add or multiply two, or cut them.
 */
const between: ReadonlySet<string> = new Set([
  ...["Add", "Sub", "Mul", "Neg", "Abs", "Relu", "LeakyRelu", "Clip", "Tanh", "Sigmoid", "MaxPool"],
  ...["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Split", "Slice"],
  ...["Expand", "Gather", "Pad"],
]);

/** Operators that have no bfloat16 form in opset 18. */
const float16Only: ReadonlySet<string> = new Set(["Conv", "ConvTranspose", "MaxPool"]);

/** The range of float16. A constant beyond it keeps its reader in float32: a mask of −1e9, a single ε of 1e-12. */
const [smallest, largest] = [2 ** -14, 65504];

/**
 * Computes products, and what lies between them, in float16 or bfloat16. Everything else stays in float32: losses, penalties,
 * Softmax, normalizations, reductions, Exp, Log, Pow; in bfloat16 convolutions too. That is PyTorch's autocast, except that
 * an operator between a product and a float32 operator is float32. Parameters stay float32 and are cast once in a step, so their gradients are float32.
 *
 *     y = Relu(MatMul(x, w)); z = MatMul(y, v)  →  h = Relu(MatMul(half x, half w)); z = float(MatMul(h, half v))
 *
 * For a graph whose shapes are inferred and whose constants are folded, before it is differentiated. Every value of the graph
 * that was float32 still is, under its own name; half values have the name with `.half` behind it.
 *
 * @returns values that are others now, by the former one, which holds the half numbers
 */
export const mixedPrecision = definePass({
  name: "mixed-precision",
  options: {
    /** The type of the half values. */
    type: "float16" as "float16" | "bfloat16",
    /** Parameters: they are cast whatever their numbers. */
    parameters: [] as readonly Value[],
    /** Inputs of 0 and 1 that are fed at each step: half precision holds them exactly. */
    masks: [] as readonly Value[],
  },
  run(graph, { type, parameters, masks }, { emit }) {
    const has = (op: string) => type === "float16" || !float16Only.has(op);
    const nodes = chosenNodes(graph, has, new Set(parameters), new Set(masks));
    const halves = new Map<Value, Value>();
    for (const node of nodes) makeHalf(graph, emit, node, type, halves);
    const moved = new Map([...halves].map(([single, half]) => [half, single]));
    return nodes.length > 0
      ? changed(`${counted(nodes.length, "node")} in ${type}`, moved)
      : unchanged("there is no product of float32 numbers", moved);
  },
});

/** The nodes to compute in half precision, in topological order. */
function chosenNodes(
  graph: Graph,
  has: (op: string) => boolean,
  parameters: ReadonlySet<Value>,
  masks: ReadonlySet<Value>,
): Node[] {
  const order = graph.sorted();
  const exact = exactValues(order, masks);
  const fits = (value: Value) => parameters.has(value) || exact.has(value);
  // Forwards: what could be half, because all that it reads is.
  const could = new Set<Node>();
  const isHalf = (value: Value) => value.producer !== undefined && could.has(value.producer);
  for (const node of order) {
    if (!isOfFloats(node) || !has(node.op)) continue;
    const floats = floatInputs(node);
    if (products.has(node.op)) could.add(node);
    else if (between.has(node.op) && floats.some(isHalf) && floats.every((x) => isHalf(x) || fits(x)))
      could.add(node);
  }
  // Backwards: what lies between a product and another one.
  const chosen = new Set<Node>();
  for (const node of [...order].reverse()) {
    const feedsHalf = node.outputs.some((y) => [...(y?.uses ?? [])].some((use) => chosen.has(use.node)));
    if (could.has(node) && (products.has(node.op) || feedsHalf)) chosen.add(node);
  }
  return order.filter((node) => chosen.has(node));
}

/** Whether all floats of a node are float32 of known shapes, and no body reads or computes them. */
const isOfFloats = ({ inputs, outputs, captures }: Node): boolean =>
  captures.length === 0 &&
  outputs.every((y) => !y || (y.type !== "double" && y.shape !== undefined)) &&
  outputs[0]?.type === "float" &&
  inputs.every((x) => !x || (x.type !== undefined && x.type !== "double" && x.shape !== undefined));

const floatInputs = ({ inputs }: Node): Value[] => inputs.flatMap((x) => (x?.type === "float" ? [x] : []));

/** Masks and constants that half precision holds well enough, and what is computed from them alone. */
function exactValues(order: readonly Node[], masks: ReadonlySet<Value>): ReadonlySet<Value> {
  const exact = new Set(masks);
  const holds = (value: Value): boolean => {
    if (exact.has(value)) return true;
    const { initializer } = value;
    if (!initializer) return false;
    const numbers = initializer.data as Float32Array;
    const least = numbers.length === 1 ? smallest : 0;
    return numbers.every((number) => {
      const size = Math.abs(number);
      return number === 0 || (size >= least && size <= largest);
    });
  };
  for (const node of order) {
    for (const x of floatInputs(node)) if (holds(x)) exact.add(x);
    const floats = floatInputs(node);
    if (between.has(node.op) && floats.length > 0 && floats.every((x) => exact.has(x)))
      for (const y of node.outputs) if (y?.type === "float") exact.add(y);
  }
  return exact;
}

/**
 * Makes a node read and compute half numbers. Its former readers read a float32 copy, which has the value's name.
 * @param halves - the half value of each float32 copy
 */
function makeHalf(
  graph: Graph,
  g: Emit,
  node: Node,
  type: "float16" | "bfloat16",
  halves: Map<Value, Value>,
): void {
  node.inputs.forEach((x, index) => {
    if (x?.type !== "float") return;
    const half = halves.get(x) ?? g.once(`${x.name} as ${type}`, () => g.cast(x, type));
    graph.setInput({ node, index }, half);
  });
  for (const y of node.outputs) {
    if (y?.type !== "float") continue;
    const { name } = y;
    graph.rename(y, graph.freshName(`${name}.half`));
    y.type = type;
    const single: Typed = g.cast(y, "float");
    graph.replaceUses(y, single, {
      outputs: true,
      except: new Set(single.producer ? [single.producer] : []),
    });
    graph.rename(single, name);
    halves.set(single, y);
  }
}
