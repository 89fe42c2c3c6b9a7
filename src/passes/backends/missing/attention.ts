import { maskOf } from "../../../autodiff/rules/attention.ts";
import {
  attendingRows,
  attentionScores,
  type DotProductAttention,
  fromHeads,
  toHeads,
} from "../../../autodiff/rules/dot-product-attention.ts";
import { rotate } from "../../../autodiff/rules/rotary-embedding.ts";
import type { Emit } from "../../../graph/emit.ts";
import { type Typed, typed } from "../../../graph/emit-base.ts";
import { isRead } from "../../../graph/reach.ts";
import { dimAt } from "../../../graph/shapes.ts";
import { inputOf, optionalInput, type WrittenOutTable } from "./written-out.ts";

/** y = softmax(cap(scale·q·kᵀ) + mask)·v, [B, H, S, V]; 0 for a query without keys. */
function attentionOutput(g: Emit, attention: DotProductAttention): Typed {
  const { value, mask } = attention;
  const { grouped, byHead, capped } = attentionScores(g, attention);
  const weights = g.softmax(mask ? g.add(capped(), mask.bias) : capped());
  const y = byHead(g.matMul(grouped(weights), value));
  return mask?.emptyRows ? g.mul(y, attendingRows(g, mask, y.type)) : y;
}

export const attentions: WrittenOutTable = {
  Attention: (g, node) => {
    const scores = node.outputs[3];
    if (scores && isRead(g.graph, scores)) return undefined;
    const [q, k, v] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2)];
    const flat = q.shape.length === 3;
    const heads = (x: Typed, count: string) => (flat ? toHeads(g, x, node.int(count, 1)) : x);
    const [query, newKey, newValue] = [
      heads(q, "q_num_heads"),
      heads(k, "kv_num_heads"),
      heads(v, "kv_num_heads"),
    ];
    const [pastKey, pastValue] = [optionalInput(node, 4), optionalInput(node, 5)];
    const behind = (past: Typed | undefined, x: Typed) => (past ? g.concat([past, x], 2) : g.identity(x));
    const [key, value] = [behind(pastKey, newKey), behind(pastValue, newValue)];
    const inputs = node.inputs.map((input) => input && typed(input));
    const mask = maskOf({ node, inputs }, g, {
      rows: dimAt(query.shape, 2),
      keys: dimAt(key.shape, 2),
      past: pastKey ? dimAt(pastKey.shape, 2) : 0,
    });
    const scale = node.attributes.has("scale")
      ? node.float("scale", 1)
      : 1 / Math.sqrt(dimAt(query.shape, 3));
    const y = attentionOutput(g, { query, key, value, scale, softcap: node.float("softcap", 0), mask });
    return [flat ? fromHeads(g, y) : y, key, value];
  },
  RotaryEmbedding: (g, node) => {
    const [x, positions] = [inputOf(node, 0), optionalInput(node, 3)];
    const flat = x.shape.length === 3;
    const angles = (index: number) => {
      const table = inputOf(node, index);
      return g.unsqueeze(positions ? g.gather(table, positions) : table, [1]);
    };
    const [cosines, sines] = [angles(1), angles(2)];
    const pairs = { width: 2 * dimAt(cosines.shape, -1), interleaved: node.flag("interleaved") };
    const rotated = rotate(g, flat ? toHeads(g, x, node.int("num_heads", 1)) : x, cosines, sines, pairs);
    return [flat ? fromHeads(g, rotated) : rotated];
  },
};
