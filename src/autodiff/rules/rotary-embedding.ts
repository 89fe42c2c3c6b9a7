import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { lazy } from "../lazy.ts";
import type { Rule, RuleContext, Sample } from "../rule.ts";
import { fromHeads, toHeads } from "./dot-product-attention.ts";

/** Indices of the inputs, which differ between ONNX's operator and that of com.microsoft, and the resolved settings. */
interface RotaryInputs {
  readonly cosines: number;
  readonly sines: number;
  /** Rows of the tables, [B, L] or [1, L]; without positions the tables hold one row per token. */
  readonly positions: Typed | null | undefined;
  /** Number of heads in the last axis of a tensor with three axes. */
  readonly heads: number;
}

/** How the pairs of a tensor [B, H, L, D] lie in its last axis: the first `width` numbers are pairs. */
interface Pairs {
  readonly width: number;
  readonly interleaved: boolean;
}

/** The first and the second numbers of all pairs, each [B, H, L, width/2]. */
function pairsOf(g: Emit, x: Typed, { width, interleaved }: Pairs): readonly [Typed, Typed] {
  const half = width / 2;
  const part = (start: number, step: number) => g.slice(x, [{ axis: 3, start, length: half, step }]);
  return interleaved ? [part(0, 2), part(1, 2)] : [part(0, 1), part(half, 1)];
}

/** The inverse of {@link pairsOf}; appends `rest` unchanged. */
function fromPairs(g: Emit, first: Typed, second: Typed, pairs: Pairs, rest: readonly Typed[]): Typed {
  const joined = pairs.interleaved
    ? g.reshape(g.concat([g.unsqueeze(first, [4]), g.unsqueeze(second, [4])], 4), [
        ...first.shape.slice(0, 3),
        pairs.width,
      ])
    : g.concat([first, second], 3);
  return g.concat([joined, ...rest], 3);
}

/**
 * Turns the pairs of x: [B, H, L, D] by angles given as cosines and sines, which broadcast to [B, H, L, width/2]. It splits and
 * joins, because the gradient of Split is one Concat, and that of each Slice a Pad and a sum.
 */
export function rotate(g: Emit, x: Typed, cosines: Typed, sines: Typed, pairs: Pairs): Typed {
  const { width, interleaved } = pairs;
  const rest = dimAt(x.shape, 3) - width;
  const behind = rest > 0 ? [rest] : [];
  const parts = g.split(x, 3, [...(interleaved ? [width] : [width / 2, width / 2]), ...behind]);
  const shape = [...x.shape.slice(0, 3), width / 2];
  const apart = (joined: Typed) =>
    g.split(g.reshape(joined, [...shape, 2]), 4, [1, 1]).map((part) => g.reshape(part, shape));
  const [a, b] = (interleaved ? apart(parts[0] as Typed) : parts) as [Typed, Typed];
  const first = g.sub(g.mul(a, cosines), g.mul(b, sines));
  const second = g.add(g.mul(a, sines), g.mul(b, cosines));
  return fromPairs(g, first, second, pairs, rest > 0 ? parts.slice(-1) : []);
}

/**
 * Gradients of the rotation of pairs (a, b) by an angle given as cosine and sine: (a·c − b·s, a·s + b·c). The gradient of
 * the pairs is rotated back; dc = da·a + db·b and ds = db·a − da·b, summed over heads and over positions that share an angle.
 */
export function rotaryGradients(context: RuleContext, dy: Typed, g: Emit, inputs: RotaryInputs) {
  const { node } = context;
  const x = context.input(0);
  const flat = x.shape.length === 3;
  const split = (value: Typed) => (flat ? toHeads(g, value, inputs.heads) : value);
  const [cosines, sines] = [context.input(inputs.cosines), context.input(inputs.sines)];
  const { positions } = inputs;
  const pairs = {
    width: 2 * dimAt(cosines.shape, -1),
    interleaved: node.flag("interleaved"),
  };
  /** [B, 1, L, width/2] */
  const angles = (table: Typed) => g.unsqueeze(positions ? g.gather(table, positions) : table, [1]);
  const [dFirst, dSecond] = [0, 1].map((i) => lazy(() => pairsOf(g, split(dy), pairs)[i] as Typed)) as [
    () => Typed,
    () => Typed,
  ];
  const toTable = (gradient: Typed, table: Typed) => {
    const summed = g.reduceSum(gradient, [1]);
    if (!positions) return summed;
    return g.scatterAdd(
      g.filled(0, table.shape, table.type),
      g.unsqueeze(g.cast(positions, "int64"), [2]),
      g.sumTo(summed, [...positions.shape, dimAt(table.shape, 1)]),
    );
  };
  const gradients: (() => Typed)[] = [];
  gradients[0] = () => {
    const [c, s] = [angles(cosines), angles(sines)];
    const d = split(dy);
    const first = g.add(g.mul(dFirst(), c), g.mul(dSecond(), s));
    const second = g.sub(g.mul(dSecond(), c), g.mul(dFirst(), s));
    const start = pairs.width;
    const length = dimAt(d.shape, 3) - start;
    const rest = length > 0 ? [g.slice(d, [{ axis: 3, start, length }])] : [];
    const rotated = fromPairs(g, first, second, pairs, rest);
    return flat ? fromHeads(g, rotated) : rotated;
  };
  gradients[inputs.cosines] = () => {
    const [a, b] = pairsOf(g, split(x), pairs);
    return toTable(g.add(g.mul(dFirst(), a), g.mul(dSecond(), b)), cosines);
  };
  gradients[inputs.sines] = () => {
    const [a, b] = pairsOf(g, split(x), pairs);
    return toTable(g.sub(g.mul(dSecond(), a), g.mul(dFirst(), b)), sines);
  };
  return [0, 1, 2, 3].map((index) => gradients[index] ?? null);
}

const positions = { shape: [2, 3], constant: [0, 4, 2, 1, 1, 3] };
const tables: Sample["inputs"] = [
  [5, 2],
  [5, 2],
];
const partial: Sample["inputs"] = [
  [5, 1],
  [5, 1],
];

/** ONNX's RotaryEmbedding, with inputs (X, cosines, sines, positions). */
export const rotaryEmbedding: Rule = {
  vjp: (context, dy, g) =>
    rotaryGradients(context, dy, g, {
      cosines: 1,
      sines: 2,
      positions: context.inputs[3],
      heads: context.node.int("num_heads", 1),
    }),
  samples: [
    { inputs: [[2, 2, 3, 4], ...tables, positions], opset: 23 },
    {
      inputs: [[2, 2, 3, 4], ...tables, positions],
      attributes: { interleaved: int(1) },
      opset: 23,
    },
    {
      inputs: [
        [2, 2, 3, 4],
        [2, 3, 2],
        [2, 3, 2],
      ],
      opset: 23,
      note: "angles by position",
    },
    {
      inputs: [[2, 3, 8], ...tables, positions],
      attributes: { num_heads: int(2) },
      opset: 23,
      note: "3-D",
    },
    {
      inputs: [[2, 3, 8], ...partial, positions],
      attributes: { num_heads: int(2), rotary_embedding_dim: int(2), interleaved: int(1) },
      opset: 23,
      note: "3-D, a part of each head",
    },
    {
      inputs: [[2, 2, 3, 4], ...partial, positions],
      attributes: { rotary_embedding_dim: int(2), num_heads: int(2) },
      opset: 23,
      note: "a part of each head",
    },
  ],
};
