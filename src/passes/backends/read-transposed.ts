import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { isFloat } from "../../onnx/data-types.ts";
import { byteLengthOf, elementCount } from "../../onnx/tensor.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";

/**
 * Reads a large frozen weight as its file holds it. ONNX Runtime computes the Transpose of a constant once, when it opens the
 * graph, and keeps the result: a second copy of the weight, in memory of the process rather than in pages of the file.
 *
 *     MatMul(dy, Transpose(w))  →  Gemm(dy, w, transB = 1)
 *
 * With com.microsoft.FusedMatMul in its place, an optimizer of ONNX Runtime 1.30 (MatMulScaleFusion) drops nodes that are read.
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
  const [y] = node.outputs;
  if (!y?.shape || found.every((one) => one === undefined)) return false;
  const [a, b] = node.inputs.slice(0, 2).map((operand, i) => found[i]?.weight ?? operand);
  const flags = ["transA", "transB"].filter((_, index) => found[index]?.swapped);
  const turned = flags.map((flag) => [flag, int(node.flag(flag) ? 0 : 1)] as const);
  // The rows of a batch are rows of one product with a matrix on the right.
  const isBatch = y.shape.length > 2;
  if (!a?.shape || !b || (isBatch && (node.op === "Gemm" || found[0] || b.shape?.length !== 2))) return false;
  if (node.op === "Gemm" || flags.length === 0) {
    for (const [index, operand] of [a, b].entries()) graph.setInput({ node, index }, operand);
    for (const [flag, value] of turned) node.attributes.set(flag, value);
    return true;
  }
  const columns = dimAt(y.shape, -1);
  const rows = elementCount(y.shape.slice(0, -1));
  const left = isBatch ? emit.reshape(typed(a), [rows, dimAt(a.shape, -1)]) : a;
  const matrix = emit.op("Gemm", [left, b], [rows, columns], { attributes: Object.fromEntries(turned) });
  const product = isBatch ? emit.reshape(matrix, y.shape) : matrix;
  replaceNode(graph, node, [product]);
  return true;
}

/** The large frozen matrix behind one or more Transposes; `swapped` after an odd number of them. */
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
  if (!weight?.initializer || weight === operand) return undefined;
  const { type, dims } = weight.initializer;
  return !isFloat(type) || byteLengthOf(type, dims) < least ? undefined : { weight, swapped };
}

/** Whether a node swaps the axes of a matrix. */
const swapsLast = (node: Node): boolean =>
  node.op === "Transpose" &&
  node.inputs[0]?.shape?.length === 2 &&
  `${node.ints("perm") ?? [1, 0]}` === "1,0";
