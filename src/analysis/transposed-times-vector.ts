import type { Node } from "../graph/node.ts";

/**
 * Whether a node multiplies a matrix, whose last two axes a Transpose swaps, with a vector behind it. ONNX Runtime makes one
 * operator of both, which computes something else.
 */
export function isTransposedTimesVector(node: Node): boolean {
  const [left, right] = node.inputs;
  const shape = right?.initializer?.dims ?? right?.shape ?? right?.declared;
  if (node.op !== "MatMul" || left?.producer?.op !== "Transpose" || shape?.length !== 1) return false;
  const perm = left.producer.attributes.get("perm");
  if (perm?.kind !== "ints") return left.shape === undefined || left.shape.length === 2;
  const last = perm.value.length - 1;
  const swapped = perm.value.toSpliced(last - 1, 2, ...[...perm.value.slice(-2)].reverse());
  return last > 0 && swapped.every((axis, i) => axis === i);
}
