import type { Node, Value } from "../graph/node.ts";
import { constantTensor } from "./probe-model.ts";

/** ONNX Runtime's attention of decoders, in which groups of query heads share keys and values. */
export const groupQueryAttention = "com.microsoft.GroupQueryAttention";

/** The width of a cache's heads: that of the attention which reads it. Undefined where no weight in front of it says so. */
export function cacheHeadWidth(cache: Value): number | undefined {
  for (const { node } of cache.uses) {
    const width = node.op === groupQueryAttention ? headWidth(node) : undefined;
    if (width !== undefined) return width;
  }
  return undefined;
}

/** The width of a head of a GroupQueryAttention, from the length of its queries' last axis. */
function headWidth(node: Node): number | undefined {
  const [queries, keys, , , , , , cosines] = node.inputs;
  const heads = node.int("num_heads", 1) + (keys ? 0 : 2 * node.int("kv_num_heads", 1));
  const length = queries ? lastLength(queries) : undefined;
  if (length !== undefined) return length / heads;
  // The tables turn whole heads, unless the model is of a kind that turns a part of each.
  const half = constantTensor(cosines)?.dims.at(-1);
  return half === undefined ? undefined : 2 * half;
}

/** The length of a value's last axis, as the weights in front of it fix it. */
function lastLength(value: Value, depth = 32): number | undefined {
  const known = constantTensor(value)?.dims ?? value.shape ?? value.declared;
  if (known) return numberOrNothing(known.at(-1));
  const node = value.producer;
  if (!node || depth === 0) return undefined;
  const of = (index: number) => {
    const input = node.inputs[index];
    return input ? lastLength(input, depth - 1) : undefined;
  };
  switch (node.op) {
    case "MatMul":
      return of(1);
    case "Gemm":
      return node.flag("transB") ? constantTensor(node.inputs[1])?.dims[0] : of(1);
    case "com.microsoft.MatMulNBits":
      return node.int("N", 0) || undefined;
    case "Reshape":
      return positive(constantTensor(node.inputs[1])?.numbers().at(-1));
    case "Split":
      return positive(constantTensor(node.inputs[1])?.numbers()[node.outputs.indexOf(value)]);
    case "Transpose": {
      const dims = constantTensor(node.inputs[0])?.dims;
      return dims?.[node.ints("perm")?.at(-1) ?? 0];
    }
    case "Add":
    case "Mul":
      return Math.max(of(0) ?? 0, of(1) ?? 0) || undefined;
    case "Cast":
    case "Identity":
    case "DequantizeLinear":
    case "SimplifiedLayerNormalization":
    case "RMSNormalization":
    case "com.microsoft.RotaryEmbedding":
    case "RotaryEmbedding":
      return of(0);
    default:
      return undefined;
  }
}

const numberOrNothing = (dim: unknown): number | undefined => (typeof dim === "number" ? dim : undefined);
const positive = (length: number | undefined): number | undefined =>
  length !== undefined && length > 0 ? length : undefined;
