import type { DimensionOptions } from "../../analysis/dimensions.ts";
import { groupQueryAttention } from "../../analysis/head-width.ts";
import { inferShapes } from "../../analysis/infer.ts";
import {
  attentionScores,
  causalCondition,
  fromHeads,
  lowest,
  toHeads,
} from "../../autodiff/rules/dot-product-attention.ts";
import { rotate } from "../../autodiff/rules/rotary-embedding.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { isRead } from "../../graph/reach.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import { dimAt } from "../../graph/shapes.ts";
import type { DataTypeName } from "../../onnx/data-types.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";

/** Places of the operator's inputs. */
const at = {
  ...{ query: 0, key: 1, value: 2, pastKey: 3, pastValue: 4, lengths: 5, cosines: 7, sines: 8 },
  ...{ positions: 9, bias: 10, sink: 11, keyScale: 12, valueScale: 13, queryNorm: 14, keyNorm: 15, rows: 16 },
};

/**
 * Writes the attention of decoders (com.microsoft's GroupQueryAttention) out in standard operators, which have derivatives and
 * run on every backend, in double too. There must be no former tokens.
 *
 *     y, k', v' = GroupQueryAttention(q, k, v, , , lengths, total, cos, sin) {num_heads: 4, kv_num_heads: 2, do_rotary: 1}
 *       → k' = rotate(k), v' = v, by head; y = MatMul(Softmax(MatMul(rotate(q)/√d, k'ᵀ) + mask), v')
 *
 * A query sees no later key, none outside of its window, and none of padding; padding stands behind a sample's tokens. As
 * in ONNX Runtime, the first of all positions counts, and the others follow it. A node that has to stay keeps the reason as its `obstacle`.
 */
export const writeOutAttention = definePass({
  name: "write-out-attention",
  options: {
    /** Sizes of the graph's free dimensions. */
    dimensions: {} as DimensionOptions,
  },
  async run(graph, { dimensions }, { emit, probe }) {
    const found = graph.nodes.filter(({ op }) => op === groupQueryAttention);
    if (found.length === 0) return unchanged("the graph has no GroupQueryAttention");
    await inferShapes(graph, probe, dimensions);
    const written = found.filter((node) => {
      node.obstacle = obstacleOf(graph, node);
      return node.obstacle === undefined;
    });
    // Values keep their names, by which options may call them.
    for (const node of written) replaceNode(graph, node, outputsOf(graph, emit, node));
    return written.length > 0
      ? changed(counted(written.length, "GroupQueryAttention"))
      : unchanged(found.map(({ label, obstacle }) => `"${label}": ${obstacle}`).join("; "));
  },
});

/** Why a node has no training form; undefined if it has. */
function obstacleOf(graph: Graph, node: Node): string | undefined {
  const input = (index: number) => node.inputs[index];
  const past = [at.pastKey, at.pastValue].flatMap((index) => input(index) ?? []);
  if (past.some(({ shape }) => shape?.[2] !== 0)) {
    return "it continues former tokens, and gradients need its training form, in which their keys and values have the length 0";
  }
  if (input(at.keyScale) || input(at.valueScale)) return "it quantizes keys and values";
  if (input(at.queryNorm) || input(at.keyNorm)) {
    return "it normalizes queries and keys itself; export the model with these normalizations as operators";
  }
  if (input(at.rows)) return "its queries are a part of the tokens, which is for generating text";
  if (isRead(graph, node.outputs[3])) return "its output output_qk is read";
  const [query, key, value] = [input(at.query), input(at.key), input(at.value)];
  if (!query?.shape || !node.outputs[0]) return "the shape of its queries is not known";
  if (!key !== !value) return "it has keys without values, or values without keys";
  if (key && (!key.shape || !value?.shape)) return "the shape of its keys or values is not known";
  if (key && (key.shape?.length !== 3 || dimAt(key.shape, 1) !== dimAt(query.shape, 1))) {
    return "its keys are not those of its own tokens";
  }
  if (node.flag("do_rotary") && (!input(at.cosines)?.shape || !input(at.sines)?.shape)) {
    return "the shapes of its rotation's tables are not known";
  }
  return undefined;
}

interface Heads {
  /** [B, H, S, D] */
  readonly query: Typed;
  /** [B, K, S, D] */
  readonly key: Typed;
  /** [B, K, S, D] */
  readonly value: Typed;
}

/** The values of the node's outputs that are read. */
function outputsOf(graph: Graph, g: Emit, node: Node): (Typed | undefined)[] {
  const { value, ...given } = headsOf(g, node);
  const turned = node.flag("do_rotary") ? rotated(g, node, given) : given;
  const heads = { ...turned, value };
  const values = [() => fromHeads(g, attended(g, node, heads)), () => heads.key, () => heads.value];
  return values.map((make, i) => {
    const output = node.outputs[i];
    return output && isRead(graph, output) ? make() : undefined;
  });
}

/** Splits what the node reads by head: three inputs, or one in which queries, keys and values follow each other. */
function headsOf(g: Emit, node: Node): Heads {
  const [heads, shared] = [node.int("num_heads", 1), node.int("kv_num_heads", 1)];
  const [query, key, value] = [at.query, at.key, at.value].map((index) => node.inputs[index]);
  const first = typed(query as Value);
  if (key && value) {
    return {
      query: toHeads(g, first, heads),
      key: toHeads(g, typed(key), shared),
      value: toHeads(g, typed(value), shared),
    };
  }
  const all = toHeads(g, first, heads + 2 * shared);
  const parts = g.split(all, 1, [heads, shared, shared]) as [Typed, Typed, Typed];
  return { query: parts[0], key: parts[1], value: parts[2] };
}

/** Queries and keys, turned by the angles of their positions. */
function rotated(g: Emit, node: Node, { query, key }: Omit<Heads, "value">): Omit<Heads, "value"> {
  const [cosines, sines] = [at.cosines, at.sines].map((index) => typed(node.inputs[index] as Value)) as [
    Typed,
    Typed,
  ];
  const length = dimAt(query.shape, 2);
  const positions = node.inputs[at.positions];
  /** [S, width/2] */
  const rows = (table: Typed) =>
    g.once(`rows of ${table.name} from ${positions?.name} for ${length}`, () =>
      positions
        ? g.gather(table, following(g, typed(positions), length))
        : g.slice(table, [{ axis: 0, start: 0, length }]),
    );
  const pairs = { width: 2 * dimAt(cosines.shape, -1), interleaved: node.flag("rotary_interleaved") };
  const turn = (x: Typed) => rotate(g, x, rows(cosines), rows(sines), pairs);
  return { query: turn(query), key: turn(key) };
}

/** `length` positions from the first one on, [S]. */
const following = (g: Emit, positions: Typed, length: number): Typed => {
  const start = positions.shape.map((_, axis) => ({ axis, start: 0, length: 1 }));
  const first = g.reshape(g.slice(positions, start), [1]);
  return g.add(g.cast(first, "int32"), g.iota(length));
};

/** softmax(cap(scale·q·kᵀ) + masks)·v, [B, H, S, D]. */
function attended(g: Emit, node: Node, heads: Heads): Typed {
  const { query, value } = heads;
  const scale = node.float("scale", 0) || 1 / Math.sqrt(dimAt(query.shape, -1));
  const softcap = Math.max(node.float("softcap", 0), 0);
  const { capped, grouped, byHead } = attentionScores(g, { ...heads, scale, softcap });
  const scores = capped();
  const mask = maskOf(g, node, query);
  const weights = weightsOf(g, node, mask ? g.add(scores, mask) : scores);
  return byHead(g.matMul(grouped(weights), value));
}

/** Softmax over keys and, if the node has one, over a sink that takes a share of the weight. */
function weightsOf(g: Emit, node: Node, scores: Typed): Typed {
  const [batch, heads, rows, keys] = scores.shape as [number, number, number, number];
  const given = node.inputs[at.sink];
  if (!given && !node.int("smooth_softmax", 0)) return g.softmax(scores);
  const sink = given ? g.reshape(typed(given), [1, heads, 1, 1]) : g.scalar(0, scores.type);
  const all = g.softmax(g.concat([scores, g.expand(sink, [batch, heads, rows, 1])], 3));
  return g.split(all, 3, [keys, 1])[0] as Typed;
}

/** Numbers that are added to the scores: the node's own, and the lowest one for each key that a query does not see. */
function maskOf(g: Emit, node: Node, { shape, type }: Typed): Typed | undefined {
  const bias = node.inputs[at.bias];
  const lengths = node.inputs[at.lengths];
  const causal = node.int("causal", 1) !== 0;
  const window = causal ? Math.max(node.int("local_window_size", -1), 0) : 0;
  const [batch, , rows] = shape as [number, number, number];
  const key = `mask ${bias?.name} ${lengths?.name} ${causal} ${window} ${batch} ${rows} ${type}`;
  return g.once(key, () => {
    const conditions: Typed[] = [];
    if (causal) conditions.push(causalCondition(g, rows, rows, 0));
    if (window > 0) conditions.push(g.not(causalCondition(g, rows, rows, -window)));
    if (lengths) conditions.push(g.lessOrEqual(g.iota(rows), g.reshape(lengths, [batch, 1, 1, 1])));
    return masked(g, conditions, bias ? typed(bias) : undefined, type);
  });
}

function masked(g: Emit, conditions: readonly Typed[], bias: Typed | undefined, type: DataTypeName): Typed {
  const scores = bias ?? g.scalar(0, type);
  const [first, ...others] = conditions;
  if (!first) return scores;
  const seen = others.reduce((a, b) => g.and(a, b), first);
  return g.where(seen, scores, lowest(type));
}
