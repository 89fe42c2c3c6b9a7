import type { Node, Value } from "../graph/node.ts";

/**
 * Whether a node multiplies a matrix, whose last two axes a Transpose swaps, with a vector behind it. ONNX Runtime makes one
 * operator of both, which computes something else.
 */
export function isTransposedTimesVector(node: Node): boolean {
  const [left, right] = node.inputs;
  if (node.op !== "MatMul" || left?.producer?.op !== "Transpose" || rankOf(right) !== 1) return false;
  const perm = left.producer.attributes.get("perm");
  // By default all axes are reversed.
  if (perm?.kind !== "ints") return rankOf(left.producer.inputs[0]) === 2;
  const last = perm.value.length - 1;
  const swapped = perm.value.toSpliced(last - 1, 2, ...[...perm.value.slice(-2)].reverse());
  return last > 0 && swapped.every((axis, i) => axis === i);
}

/** Number of axes of a value; undefined if it is not known yet. */
export const rankOf = (value: Value | null | undefined): number | undefined =>
  (value?.initializer?.dims ?? value?.shape ?? value?.declared)?.length;
