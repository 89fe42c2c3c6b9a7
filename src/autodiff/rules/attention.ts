import { SorthError } from "../../errors.ts";
import { type Attribute, float, int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { listed } from "../../graph/stored-lists.ts";
import { isFloat } from "../../onnx/data-types.ts";
import { lazy } from "../lazy.ts";
import type { RuleContext, RuleTable, Sample } from "../rule.ts";
import { cachedAttentionGradients, type Extent } from "./cached-attention.ts";
import {
  type AttentionMask,
  attentionMask,
  causalCondition,
  fromHeads,
  productsByHead,
  toHeads,
} from "./dot-product-attention.ts";
import { rotaryEmbedding } from "./rotary-embedding.ts";

/** The mask of an Attention node. @throws SorthError for one that ends before the keys do */
export function maskOf(
  { node, inputs }: Pick<RuleContext, "node" | "inputs">,
  g: Emit,
  { rows, keys, past }: Extent,
): AttentionMask | undefined {
  const given = inputs[3];
  if (given && ![1, keys].includes(dimAt(given.shape, -1))) {
    throw new SorthError(
      `cannot differentiate Attention (node "${node.label}"): its mask covers ${dimAt(given.shape, -1)} of ${keys} keys`,
    );
  }
  const lengths = inputs[6];
  const causal = node.flag("is_causal");
  const allowed = given?.type === "bool" ? [given] : [];
  const added = given && isFloat(given.type) ? given : undefined;
  const type = inputs[0]?.type ?? "float";
  if (!lengths) {
    return attentionMask(
      g,
      { added, allowed, causal: causal ? causalCondition(g, rows, keys, past) : undefined },
      type,
    );
  }
  // Each sample fills the cache up to its own length; the last query stands at the end of the filled part.
  const filled = g.reshape(g.cast(lengths, "int32"), [dimAt(lengths.shape, 0), 1, 1, 1]);
  const inside = g.less(g.iota(keys), filled);
  const last = () => {
    const own = g.constant(
      "int32",
      [rows, 1],
      listed(rows, (row) => row - rows),
    );
    return g.lessOrEqual(g.iota(keys), g.add(filled, own));
  };
  return attentionMask(g, { added, allowed: [...allowed, inside, ...(causal ? [last()] : [])] }, type);
}

const attributes = (values: Readonly<Record<string, number>>): Record<string, Attribute> =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      name === "scale" || name === "softcap" ? float(value) : int(value),
    ]),
  );

/** Query [2, 2, 3, 2], key [2, 2, 4, 2] and value [2, 2, 4, 3], as [batch, heads, length, width]. */
const fourAxes: Sample["inputs"] = [
  [2, 2, 3, 2],
  [2, 2, 4, 2],
  [2, 2, 4, 3],
];
/** ONNX Runtime has no float64 kernel: it expands Attention into other operators, according to an older definition. */
const floatOnly =
  "ONNX Runtime expands a float64 Attention by an older definition, which lacks queries that see no key";
const booleans = (shape: number[], values: number[]) => ({ shape, constant: values, type: "bool" as const });

export const attention = {
  // y = softmax(cap(scale·q·kᵀ) + mask)·v over past and new keys
  Attention: {
    vjp: (context, dy, g) => {
      const { node } = context;
      const [q, k, v, mask] = [context.input(0), context.input(1), context.input(2), context.inputs[3]];
      const flat = q.shape.length === 3;
      const heads = flat ? node.int("q_num_heads", 1) : dimAt(q.shape, 1);
      const shared = flat ? node.int("kv_num_heads", 1) : dimAt(k.shape, 1);
      const split = (x: Typed, count: number) => (flat ? toHeads(g, x, count) : x);
      const joined = (x: Typed) => (flat ? fromHeads(g, x) : x);
      const scores = context.gradient(3);
      const stage = node.int("qk_matmul_output_mode", 0) as 0 | 1 | 2 | 3;
      const gradients = lazy(() =>
        cachedAttentionGradients(
          g,
          {
            query: split(q, heads),
            key: split(k, shared),
            value: split(v, shared),
            pastKey: context.inputs[4],
            pastValue: context.inputs[5],
            presentKey: context.outputs[1],
            presentValue: context.outputs[2],
            scale: node.attributes.has("scale") ? node.float("scale", 1) : undefined,
            softcap: node.float("softcap", 0),
            mask: (extent) => maskOf(context, g, extent),
          },
          {
            output: split(dy, heads),
            products: flat
              ? productsByHead(g, context.output(0), dy, heads)
              : g.reduceSum(g.mul(dy, context.output(0)), [3], true),
            ...(scores ? { scores: { stage, gradient: scores } } : {}),
            presentKey: context.gradient(1),
            presentValue: context.gradient(2),
          },
        ),
      );
      return [
        () => joined(gradients().query()),
        () => joined(gradients().key()),
        () => joined(gradients().value()),
        mask && isFloat(mask.type) ? () => gradients().mask() : null,
        () => gradients().pastKey(),
        () => gradients().pastValue(),
        null,
      ];
    },
    samples: [
      { inputs: fourAxes, opset: 23 },
      {
        inputs: [
          [2, 3, 4],
          [2, 4, 4],
          [2, 4, 6],
        ],
        attributes: attributes({ q_num_heads: 2, kv_num_heads: 2, scale: 0.3 }),
        opset: 23,
        note: "3-D",
      },
      {
        inputs: [
          [2, 4, 3, 2],
          [2, 2, 3, 2],
          [2, 2, 3, 2],
        ],
        attributes: attributes({ is_causal: 1 }),
        opset: 23,
        note: "grouped, causal",
      },
      {
        inputs: [
          [1, 3, 8],
          [1, 4, 2],
          [1, 4, 3],
        ],
        attributes: attributes({ q_num_heads: 4, kv_num_heads: 1, softcap: 0.5, scale: 2 }),
        opset: 23,
        note: "one head for all, softcap",
      },
      { inputs: [...fourAxes, [3, 4]], opset: 23, note: "float mask" },
      {
        inputs: [...fourAxes, [2, 1, 3, 4]],
        attributes: attributes({ is_causal: 1 }),
        opset: 23,
        note: "causal with fewer queries than keys, float mask by sample",
      },
      {
        inputs: [...fourAxes, booleans([3, 4], [1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0])],
        opset: 23,
        floatOnly,
        note: "bool mask, a query without keys",
      },
      {
        inputs: [
          ...fourAxes,
          {
            shape: [3, 4],
            constant: [0, -Infinity, 1, 0, -Infinity, -Infinity, -Infinity, -Infinity, 0, 0, 0, -1e9],
            type: "float",
          },
        ],
        attributes: attributes({ softcap: 0.7 }),
        opset: 23,
        floatOnly,
        note: "infinite mask, a query without keys",
      },
      {
        inputs: [...fourAxes, null, [2, 2, 2, 2], [2, 2, 2, 3]],
        attributes: attributes({ is_causal: 1 }),
        outputs: 3,
        opset: 23,
        note: "cache",
      },
      {
        inputs: [
          [2, 3, 4],
          [2, 2, 2],
          [2, 2, 3],
          [2, 2, 3, 5],
          [2, 1, 3, 2],
          [2, 1, 3, 3],
        ],
        attributes: attributes({ q_num_heads: 2, kv_num_heads: 1 }),
        outputs: 3,
        opset: 24,
        note: "3-D with cache and mask",
      },
      ...[0, 1, 2, 3].map(
        (mode): Sample => ({
          inputs: [...fourAxes, [3, 4]],
          attributes: attributes({ qk_matmul_output_mode: mode, softcap: 1.5 }),
          outputs: 4,
          opset: 24,
          note: "with scores",
        }),
      ),
      {
        inputs: [...fourAxes, null, null, null, { shape: [2], constant: [2, 4] }],
        opset: 24,
        note: "filled lengths",
      },
      {
        inputs: [...fourAxes, null, null, null, { shape: [2], constant: [2, 4] }],
        attributes: attributes({ is_causal: 1 }),
        opset: 24,
        floatOnly,
        note: "filled lengths, causal: a query before the first key",
      },
    ],
  },

  RotaryEmbedding: rotaryEmbedding,
} satisfies RuleTable;
