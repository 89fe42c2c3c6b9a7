import type { Node, Value } from "../graph/node.ts";
import { constantTensor } from "./probe-model.ts";

/** ONNX Runtime's attention of decoders, in which groups of query heads share keys and values. */
export const groupQueryAttention = "com.microsoft.GroupQueryAttention";

/**
 * The width of a cache's heads: that of the attention which reads it, or of the new keys and values that are put behind it.
 * Undefined where no weight in front of them says so.
 */
export function cacheHeadWidth(cache: Value): number | undefined {
  for (const { node } of cache.uses) {
    const fresh = node.op === "Concat" ? node.inputs.find((input) => input !== cache) : undefined;
    const width = node.op === groupQueryAttention ? headWidth(node) : fresh ? lastLength(fresh) : undefined;
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
  // The rotary tables turn whole heads, unless the model is of a kind that turns a part of each.
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
    case "Reshape": {
      const code = constantTensor(node.inputs[1])?.numbers() ?? [];
      const whole = of(0);
      // [0, 0, heads, −1]: the last axis is split by head.
      const byHead = code.length === 4 && code[0] === 0 && code[1] === 0 && code[3] === -1;
      return byHead && whole !== undefined ? whole / (code[2] ?? 1) : positive(code.at(-1));
    }
    case "Split":
      return positive(constantTensor(node.inputs[1])?.numbers()[node.outputs.indexOf(value)]);
    case "Transpose": {
      const last = node.ints("perm")?.at(-1) ?? 0;
      return last === (node.ints("perm")?.length ?? 0) - 1
        ? of(0)
        : constantTensor(node.inputs[0])?.dims[last];
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
