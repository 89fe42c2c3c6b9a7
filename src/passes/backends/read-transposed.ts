import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { allAxes } from "../../graph/shapes.ts";
import { byteLengthOf } from "../../onnx/tensor.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";

/**
 * Reads a large frozen weight as its file holds it. ONNX Runtime computes the Transpose of a constant once, when it opens the
 * graph, and keeps the result: a second copy of the weight, in memory of the process rather than in pages of the file.
 *
 *     MatMul(dy, Transpose(w))  →  com.microsoft.FusedMatMul(dy, w, transB = 1)
 */
export const readTransposed = definePass({
  name: "read-transposed",
  options: {
    /** Smaller weights (in bytes) stay transposed: their copy costs little, and it is packed. */
    least: 2 ** 20,
  },
  run(graph, { least }, { emit }) {
    const products = graph.nodes.filter(({ op }) => op === "MatMul" || op === "Gemm");
    const rewritten = products.filter((node) => readStored(graph, emit, node, least));
    if (rewritten.length === 0) return unchanged("no product reads the transpose of a large frozen weight");
    graph.prune();
    return changed(counted(rewritten.length, "product"));
  },
});

/** Makes a product read the stored weight behind an operand. @returns whether one of its operands is such a weight */
function readStored(graph: Graph, emit: Emit, node: Node, least: number): boolean {
  const found = node.inputs.slice(0, 2).map((operand) => storedBehind(operand, least));
  if (found.every((one) => one === undefined)) return false;
  found.forEach((one, index) => {
    if (one) graph.setInput({ node, index }, one.weight);
  });
  const flags = ["transA", "transB"].filter((_, index) => found[index]?.swapped);
  const turned = flags.map((flag) => [flag, int(node.flag(flag) ? 0 : 1)] as const);
  if (node.op === "Gemm") {
    for (const [flag, value] of turned) node.attributes.set(flag, value);
    return true;
  }
  const [y] = node.outputs;
  if (!y || flags.length === 0) return true;
  graph.opsets.set("com.microsoft", 1);
  const attributes = Object.fromEntries(turned);
  const product = emit.op("FusedMatMul", node.inputs, typed(y).shape, {
    domain: "com.microsoft",
    attributes,
  });
  graph.replaceUses(y, product, { outputs: true });
  graph.removeNodes(new Set([node]));
  // An output of the graph keeps its name.
  graph.rename(product, y.name);
  return true;
}

/** The large frozen weight behind one or more Transposes of the last two axes; `swapped` after an odd number of them. */
function storedBehind(
  operand: Value | null | undefined,
  least: number,
): { readonly weight: Value; readonly swapped: boolean } | undefined {
  let weight = operand;
  let swapped = false;
  while (weight?.producer && swapsLast(weight.producer)) {
    weight = weight.producer.inputs[0];
    swapped = !swapped;
  }
  // ONNX Runtime's CPU has the fused product in float32 only.
  if (!weight?.initializer || weight === operand || weight.type !== "float") return undefined;
  return byteLengthOf("float", weight.initializer.dims) < least ? undefined : { weight, swapped };
}

function swapsLast(node: Node): boolean {
  const rank = node.inputs[0]?.shape?.length ?? 0;
  if (node.op !== "Transpose" || rank < 2) return false;
  const axes = allAxes(rank);
  const swapped = [...axes.slice(0, -2), rank - 1, rank - 2];
  return `${node.ints("perm") ?? axes.reverse()}` === `${swapped}`;
}
