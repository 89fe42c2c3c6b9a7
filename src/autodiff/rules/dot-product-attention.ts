import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { listed } from "../../graph/stored-lists.ts";
import type { DataTypeName } from "../../onnx/data-types.ts";
import { lazy } from "../lazy.ts";

/**
 * y = softmax(cap(scale·q·kᵀ) + mask)·v with cap(s) = c·tanh(s/c), for each head. Each group of H/K query heads shares one
 * key head and one value head.
 */
export interface DotProductAttention {
  /** [B, H, S, D] */
  readonly query: Typed;
  /** [B, K, T, D] */
  readonly key: Typed;
  /** [B, K, T, V] */
  readonly value: Typed;
  readonly scale: number;
  /** c; 0 leaves the scores as they are. */
  readonly softcap?: number;
  readonly mask?: AttentionMask | undefined;
}

/** A mask as numbers that are added to the scores. */
export interface AttentionMask {
  /** Finite numbers that broadcast to [B, H, S, T]; the type's lowest number masks a key. */
  readonly bias: Typed;
  /** Whether a query may have all its keys masked; its output is 0 then. */
  readonly emptyRows: boolean;
}

/** Gradients of an attention's outputs. */
export interface AttentionOutputGradients {
  /** ∂/∂y, [B, H, S, V]. */
  readonly output: Typed;
  /** Σ y·∂/∂y over V, [B, H, S, 1]; computed from the weights by default. */
  readonly products?: Typed;
  /** The gradient of one intermediate matrix [B, H, S, T]: scaled (0), capped (1), masked scores (2) or softmax weights (3). */
  readonly scores?: { readonly stage: 0 | 1 | 2 | 3; readonly gradient: Typed };
}

/** Gradients of an attention's operands; each is emitted when its function is called. */
interface AttentionGradients {
  readonly query: () => Typed;
  readonly key: () => Typed;
  readonly value: () => Typed;
  /** [B, H, S, T] */
  readonly mask: () => Typed;
}

/** The most negative finite number of a type. */
export const lowest = (type: DataTypeName): number =>
  type === "float16" ? -65504 : type === "bfloat16" ? -3.3895313892515355e38 : -3.4028234663852886e38;

/**
 * Gradients of an attention. They recompute the weights, as PyTorch's memory-efficient kernels do, so that the forward
 * pass keeps nothing of size S×T. With P = softmax, dP = dy·vᵀ: dS = P∘(dP − Σ dP∘P), where Σ dP∘P over keys equals
 * Σ dy∘y over values.
 */
export function attentionGradients(
  g: Emit,
  attention: DotProductAttention,
  gradients: AttentionOutputGradients,
): AttentionGradients {
  const { query, key, value, scale, softcap = 0, mask } = attention;
  const keys = dimAt(key.shape, 2);
  const { grouped, byHead, scaledQuery, capped } = attentionScores(g, attention);
  const weights = lazy(() => g.softmax(mask ? g.add(capped(), mask.bias) : capped()));

  // A query without keys contributes to no gradient.
  const attending = lazy(() => (mask?.emptyRows ? attendingRows(g, mask, query.type) : undefined));
  const present = (gradient: Typed) => {
    const rowsThere = attending();
    return rowsThere ? g.mul(gradient, rowsThere) : gradient;
  };
  const dOutput = lazy(() => present(gradients.output));
  const atStage = (stage: number) =>
    gradients.scores?.stage === stage ? gradients.scores.gradient : undefined;
  const plus = (a: Typed, b: Typed | undefined) => (b ? g.add(a, b) : a);

  const dMasked = lazy(() => {
    const fromOutput = byHead(g.matMul(grouped(dOutput()), g.transposeLast(value)));
    const direct = atStage(3);
    const dWeights = direct ? g.add(fromOutput, present(direct)) : fromOutput;
    const products =
      gradients.products && !direct
        ? gradients.products
        : g.reduceSum(g.mul(dWeights, weights()), [-1], true);
    return plus(g.mul(weights(), g.sub(dWeights, products)), keptOnly(atStage(2)));
  });
  // The score of a masked key is constant.
  const keptOnly = (gradient: Typed | undefined) =>
    gradient && mask ? g.where(g.greater(mask.bias, lowest(mask.bias.type)), gradient, 0) : gradient;
  const dProducts = lazy(() => {
    const dCapped = plus(dMasked(), atStage(1));
    const slope = () => g.sub(1, g.square(g.mul(capped(), 1 / softcap)));
    return grouped(plus(softcap ? g.mul(dCapped, slope()) : dCapped, atStage(0)));
  });

  return {
    query: () => g.mul(byHead(g.matMul(dProducts(), key)), scale),
    key: () => g.reshape(g.matMul(g.transposeLast(dProducts()), scaledQuery()), key.shape),
    value: () =>
      g.reshape(g.matMul(g.transposeLast(grouped(weights())), grouped(dOutput())), [
        ...key.shape.slice(0, 2),
        keys,
        dimAt(value.shape, -1),
      ]),
    mask: dMasked,
  };
}

/** The scores cap(scale·q·kᵀ), [B, H, S, T], and what they are computed from. The heads of a group are stacked, so that one product serves all of them. */
export function attentionScores(
  g: Emit,
  { query, key, scale, softcap = 0 }: Omit<DotProductAttention, "value" | "mask">,
) {
  const [batch, heads, rows] = query.shape as [number, number, number];
  const groups = dimAt(key.shape, 1);
  /** [B, H, S, N] → [B, K, H/K·S, N] */
  const grouped = (x: Typed) => g.reshape(x, [batch, groups, (heads / groups) * rows, dimAt(x.shape, -1)]);
  /** The inverse of {@link grouped}. */
  const byHead = (x: Typed) => g.reshape(x, [batch, heads, rows, dimAt(x.shape, -1)]);
  const scaledQuery = lazy(() => grouped(g.mul(query, scale)));
  const capped = lazy(() => {
    const products = byHead(g.matMul(scaledQuery(), g.transposeLast(key)));
    return softcap ? g.mul(g.tanh(g.mul(products, 1 / softcap)), softcap) : products;
  });
  return { grouped, byHead, scaledQuery, capped };
}

/** 1 for each query that has a key, and 0 for the others. */
export const attendingRows = (g: Emit, { bias }: AttentionMask, type: DataTypeName): Typed =>
  g.reduceMax(g.indicator(g.greater(bias, lowest(bias.type)), type), [bias.shape.length - 1], true);

/** Combines all masks into numbers that are added to the scores. */
export function attentionMask(
  g: Emit,
  parts: {
    /** Added to the scores unchanged. */
    readonly added?: Typed | undefined;
    /** Booleans: false masks a key. */
    readonly allowed?: readonly Typed[];
    /** Booleans that leave every query at least its own key. */
    readonly causal?: Typed | undefined;
  },
  type: DataTypeName,
): AttentionMask | undefined {
  const { added, allowed = [], causal } = parts;
  const conditions = causal ? [...allowed, causal] : allowed;
  const [first, ...others] = conditions;
  if (!first && !added) return undefined;
  const emptyRows = allowed.length > 0 || added !== undefined;
  const finite = added ? g.max(added, lowest(type)) : g.scalar(0, type);
  if (!first) return { bias: finite, emptyRows };
  const seen = others.reduce((a, b) => g.and(a, b), first);
  return { bias: g.where(seen, finite, lowest(type)), emptyRows };
}

/** Whether a key is no later than its query, [rows, keys]; `offset` keys precede the first query. */
export function causalCondition(g: Emit, rows: number, keys: number, offset: number): Typed {
  const last = listed(rows, (row) => row + offset);
  return g.lessOrEqual(g.iota(keys), g.constant("int32", [rows, 1], last));
}

/** [B, L, H·D] → [B, H, L, D]. */
export function toHeads(g: Emit, x: Typed, heads: number): Typed {
  const [batch, length, width] = x.shape as [number, number, number];
  return g.transpose(g.reshape(x, [batch, length, heads, width / heads]), [0, 2, 1, 3]);
}

/** [B, H, L, D] → [B, L, H·D]. */
export function fromHeads(g: Emit, x: Typed): Typed {
  const [batch, heads, length, width] = x.shape as [number, number, number, number];
  return g.reshape(g.transpose(x, [0, 2, 1, 3]), [batch, length, heads * width]);
}

/** Σ y·dy for each query and head, [B, H, S, 1], from y and dy: [B, S, H·V]. */
export function productsByHead(g: Emit, y: Typed, dy: Typed, heads: number): Typed {
  const [batch, rows, width] = y.shape as [number, number, number];
  const sums = g.reduceSum(g.reshape(g.mul(dy, y), [batch, rows, heads, width / heads]), [3], true);
  return g.transpose(sums, [0, 2, 1, 3]);
}
