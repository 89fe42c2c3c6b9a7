import { SorthError } from "../../errors.ts";
import { float, int, ints } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Node } from "../../graph/node.ts";
import { dimAt, shapeText } from "../../graph/shapes.ts";
import { lazy } from "../lazy.ts";
import type { RuleContext, RuleTable, SampleInput } from "../rule.ts";
import { cachedAttentionGradients, type Extent } from "./cached-attention.ts";
import {
  type AttentionMask,
  causalCondition,
  fromHeads,
  lowest,
  productsByHead,
  toHeads,
} from "./dot-product-attention.ts";

const refuse = (node: Node, reason: string) =>
  new SorthError(`cannot differentiate ${node.op} (node "${node.label}"): ${reason}`);

/** 1 for a key and 0 for padding, as integers in a shape that broadcasts to [B, H, S, T]. */
function keysThere(g: Emit, node: Node, mask: Typed, batch: number, keys: number): Typed {
  const given = g.cast(mask, "int32");
  const perSample = (values: Typed) => g.reshape(values, [batch, 1, 1, 1]);
  const [size] = mask.shape;
  if (mask.shape.length === 1 && size === batch) {
    return g.cast(g.less(g.iota(keys), perSample(given)), "int32");
  }
  if (mask.shape.length === 1 && size === 2 * batch) {
    const part = (start: number) => perSample(g.slice(given, [{ axis: 0, start, length: batch }]));
    const [end, start] = [part(0), part(batch)];
    return g.cast(g.and(g.less(g.iota(keys), end), g.greaterOrEqual(g.iota(keys), start)), "int32");
  }
  if (mask.shape.length === 2 && dimAt(mask.shape, 1) === keys) return g.reshape(given, [batch, 1, 1, keys]);
  if (mask.shape.length === 3 && dimAt(mask.shape, 2) === keys) return g.unsqueeze(given, [1]);
  throw refuse(node, `a mask of shape ${shapeText(mask.shape)} is for generating text, not for training`);
}

/** The mask of com.microsoft's attentions: a bias, plus a finite number for masked keys and the lowest one for later keys. */
function maskOf(
  context: RuleContext,
  g: Emit,
  inputs: { readonly mask: number; readonly bias: number },
  { rows, keys, past }: Extent,
): AttentionMask | undefined {
  const { node } = context;
  const { type, shape } = context.input(0);
  const [mask, bias] = [context.inputs[inputs.mask], context.inputs[inputs.bias]];
  const added: Typed[] = bias ? [bias] : [];
  if (mask) {
    const there = g.cast(keysThere(g, node, mask, dimAt(shape, 0), keys), type);
    added.push(g.mul(g.sub(1, there), node.float("mask_filter_value", -10000)));
  }
  const total = added.length > 0 ? added.reduce((a, b) => g.add(a, b)) : undefined;
  if (!node.flag("unidirectional")) return total && { bias: total, emptyRows: false };
  if (keys !== past + rows) throw refuse(node, "unidirectional with queries and keys of different lengths");
  const causal = causalCondition(g, rows, keys, past);
  const scores = total ?? g.scalar(0, type);
  return { bias: g.where(causal, scores, lowest(type)), emptyRows: false };
}

const scaleOf = (node: Node) => (node.float("scale", 0) === 0 ? undefined : node.float("scale", 0));

/** x: [B, L, H·D] plus its part of the projections' bias. */
function withBias(g: Emit, x: Typed, bias: Typed | null | undefined, start: number): Typed {
  if (!bias) return x;
  return g.add(x, g.slice(bias, [{ axis: 0, start, length: dimAt(x.shape, -1) }]));
}

const decoding = "it reads a shared buffer of past keys, which is for generating text, not for training";

/** Half `index` of a cache [2, B, H, L, D]: keys (0) or values (1). */
const half = (g: Emit, cache: Typed, index: number) =>
  g.reshape(g.slice(cache, [{ axis: 0, start: index, length: 1 }]), cache.shape.slice(1));

const integers = (shape: number[], ...values: number[]): SampleInput => ({
  shape,
  constant: values,
  type: "int32",
});
const twoHeads = { num_heads: int(2) };
/** Query, key and value as [batch, length, heads · width]: 2 heads, width 2 for queries and keys, width 3 for values. */
const projected: SampleInput[] = [
  [2, 3, 4],
  [2, 4, 4],
  [2, 4, 6],
];
const ownKeys: SampleInput[] = [
  [2, 3, 4],
  [2, 3, 4],
  [2, 3, 4],
];

export const multiHeadAttention = {
  // y = softmax(scale·q·kᵀ + masks)·v of projected queries, keys and values with their biases
  "com.microsoft.MultiHeadAttention": {
    vjp: (context, dy, g) => {
      const { node, inputs } = context;
      const [query, key, value] = [context.input(0), context.inputs[1], context.inputs[2]];
      if (!key || !value || key.shape.length > 4 || query.shape.length !== 3) {
        throw refuse(
          node,
          "it packs queries, keys and values into one input; export them as separate inputs",
        );
      }
      if (inputs[8] || inputs[9]) throw refuse(node, decoding);
      if (context.gradient(3)) throw refuse(node, "the loss depends on its output qk");
      const heads = node.int("num_heads", 1);
      const bias = inputs[3];
      const byHead = key.shape.length === 4;
      if (byHead && bias) throw refuse(node, "it has a bias although its keys are already split by head");
      const width = dimAt(query.shape, -1);
      const split = (x: Typed, start: number) =>
        x.shape.length === 4 ? x : toHeads(g, withBias(g, x, bias, start), heads);
      const gradients = lazy(() =>
        cachedAttentionGradients(
          g,
          {
            query: split(query, 0),
            key: split(key, width),
            value: split(value, 2 * width),
            pastKey: inputs[6],
            pastValue: inputs[7],
            presentKey: context.outputs[1],
            presentValue: context.outputs[2],
            scale: scaleOf(node),
            mask: (extent) => maskOf(context, g, { mask: 4, bias: 5 }, extent),
          },
          {
            output: toHeads(g, dy, heads),
            products: productsByHead(g, context.output(0), dy, heads),
            presentKey: context.gradient(1),
            presentValue: context.gradient(2),
          },
        ),
      );
      const joined = (of: "query" | "key" | "value") =>
        lazy(() => {
          const gradient = gradients()[of]();
          return byHead && of !== "query" ? gradient : fromHeads(g, gradient);
        });
      const parts = [joined("query"), joined("key"), joined("value")] as const;
      return [
        ...parts,
        () =>
          g.concat(
            parts.map((part) => g.reduceSum(part(), [0, 1])),
            0,
          ),
        null,
        () => gradients().mask(),
        () => gradients().pastKey(),
        () => gradients().pastValue(),
      ];
    },
    samples: [
      { inputs: projected, attributes: twoHeads },
      { inputs: [...projected, [14]], attributes: { ...twoHeads, scale: float(0.9) }, note: "bias" },
      {
        inputs: [...ownKeys, [12]],
        attributes: { ...twoHeads, unidirectional: int(1) },
        note: "causal",
      },
      {
        inputs: [...projected, null, integers([2], 2, 4)],
        attributes: twoHeads,
        note: "lengths",
      },
      {
        inputs: [...projected, null, integers([2, 4], 1, 0, 1, 1, 0, 0, 0, 0)],
        attributes: { ...twoHeads, mask_filter_value: float(-2) },
        note: "padding",
      },
      {
        inputs: [...ownKeys, null, integers([2, 3, 3], 1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1)],
        attributes: { ...twoHeads, mask_filter_value: float(-2), unidirectional: int(1) },
        note: "padding by query, causal",
      },
      { inputs: [...projected, null, null, [1, 2, 3, 4]], attributes: twoHeads, note: "attention bias" },
      {
        inputs: [
          [2, 3, 4],
          [2, 2, 4, 2],
          [2, 2, 4, 2],
        ],
        attributes: twoHeads,
        note: "keys by head",
      },
      {
        inputs: [...ownKeys, null, null, null, [2, 2, 2, 2], [2, 2, 2, 2]],
        attributes: { ...twoHeads, unidirectional: int(1) },
        outputs: 3,
        note: "cache",
      },
    ],
  },

  // The same, including the projections: q, k, v = x·W + b
  "com.microsoft.Attention": {
    vjp: (context, dy, g) => {
      const { node, inputs } = context;
      if (inputs[6]) throw refuse(node, decoding);
      const [x, weights, bias, past] = [context.input(0), context.input(1), inputs[2], inputs[4]];
      const heads = node.int("num_heads", 1);
      const [batch, length, hidden] = x.shape as [number, number, number];
      const rows = batch * length;
      const all = dimAt(weights.shape, 1);
      const sizes = node.ints("qkv_hidden_sizes") ?? [all / 3, all / 3, all / 3];
      const matrix = g.reshape(x, [rows, hidden]);
      const gradients = lazy(() => {
        const product = g.gemm(matrix, weights);
        const projections = g.reshape(bias ? g.add(product, bias) : product, [batch, length, all]);
        const part = (index: number) => {
          const start = sizes.slice(0, index).reduce((a, b) => a + b, 0);
          return toHeads(g, g.slice(projections, [{ axis: 2, start, length: sizes[index] ?? 0 }]), heads);
        };
        const presented = context.gradient(1);
        return cachedAttentionGradients(
          g,
          {
            query: part(0),
            key: part(1),
            value: part(2),
            pastKey: past && half(g, past, 0),
            pastValue: past && half(g, past, 1),
            scale: scaleOf(node),
            mask: (extent) => maskOf(context, g, { mask: 3, bias: 5 }, extent),
          },
          {
            output: toHeads(g, dy, heads),
            products: productsByHead(g, context.output(0), dy, heads),
            presentKey: presented && half(g, presented, 0),
            presentValue: presented && half(g, presented, 1),
          },
        );
      });
      /** Gradient of x·W + b, [rows, widths of q, k and v]. */
      const dProjections = lazy(() => {
        const { query, key, value } = gradients();
        const parts = [query, key, value].map((part) => fromHeads(g, part()));
        return g.reshape(g.concat(parts, 2), [rows, all]);
      });
      const stacked = (...parts: Typed[]) =>
        g.concat(
          parts.map((part) => g.unsqueeze(part, [0])),
          0,
        );
      return [
        () => g.reshape(g.gemm(dProjections(), weights, { transB: true }), x.shape),
        () => g.gemm(matrix, dProjections(), { transA: true }),
        () => g.reduceSum(dProjections(), [0]),
        null,
        () => stacked(gradients().pastKey(), gradients().pastValue()),
        () => gradients().mask(),
      ];
    },
    samples: [
      { inputs: [[2, 3, 5], [5, 12], [12]], attributes: twoHeads },
      {
        inputs: [[2, 3, 5], [5, 14], [14]],
        attributes: {
          ...twoHeads,
          qkv_hidden_sizes: ints([4, 4, 6]),
          unidirectional: int(1),
          scale: float(0.8),
        },
        note: "wider values, causal",
      },
      { inputs: [[2, 3, 5], [5, 12], [12], integers([2], 2, 3)], attributes: twoHeads, note: "lengths" },
      {
        inputs: [[2, 3, 5], [5, 12], [12], integers([4], 3, 2, 1, 0)],
        attributes: twoHeads,
        note: "ends and starts",
      },
      {
        inputs: [[2, 3, 5], [5, 12], [12], integers([2, 3], 0, 1, 1, 1, 1, 0)],
        attributes: { ...twoHeads, mask_filter_value: float(-3) },
        note: "padding",
      },
      {
        inputs: [[2, 2, 5], [5, 12], [12], null, [2, 2, 2, 3, 2]],
        attributes: { ...twoHeads, unidirectional: int(1) },
        outputs: 2,
        note: "cache",
      },
      {
        inputs: [[2, 3, 5], [5, 12], [12], integers([2, 3], 0, 1, 1, 1, 1, 0), null, [2, 1, 3, 3]],
        attributes: twoHeads,
        note: "padding and attention bias",
      },
    ],
  },
} satisfies RuleTable;
