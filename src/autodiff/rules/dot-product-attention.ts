import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import type { DataTypeName } from "../../onnx/data-types.ts";

/**
 * y = softmax(cap(scale·q·kᵀ) + mask)·v with cap(s) = c·tanh(s/c), by head. Query heads in groups of H/K share a key and
 * a value head.
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

/** What is added to the scores. */
export interface AttentionMask {
  /** Finite numbers that broadcast to [B, H, S, T]; the type's lowest number where a key is left out. */
  readonly bias: Typed;
  /** Whether a query may be left without a key: its output is 0 then. */
  readonly emptyRows: boolean;
}

/** Gradients that reach an attention from its readers. */
export interface AttentionOutputGradients {
  /** ∂/∂y, [B, H, S, V]. */
  readonly output: Typed;
  /** Σ y·∂/∂y over V, [B, H, S, 1]; worked out from the weights if left out. */
  readonly products?: Typed;
  /** ∂/∂ one of the matrices [B, H, S, T] on the way: scaled products, capped ones, masked ones, softmax weights. */
  readonly scores?: { readonly stage: 0 | 1 | 2 | 3; readonly gradient: Typed };
}

/** Gradients of an attention, each emitted when it is asked for. */
export interface AttentionGradients {
  readonly query: () => Typed;
  readonly key: () => Typed;
  readonly value: () => Typed;
  /** Of the mask, [B, H, S, T]. */
  readonly mask: () => Typed;
}

/** The most negative number of a type. */
export const lowest = (type: DataTypeName): number =>
  type === "float16" ? -65504 : type === "bfloat16" ? -3.3895313892515355e38 : -3.4028234663852886e38;

/**
 * The weights are computed again, as PyTorch's memory-efficient kernels do: nothing of size S×T is kept from the forward
 * pass. With P = softmax, dP = dy·vᵀ: dS = P∘(dP − Σ dP∘P), where Σ dP∘P over keys is Σ dy∘y over values.
 */
export function attentionGradients(
  g: Emit,
  attention: DotProductAttention,
  gradients: AttentionOutputGradients,
): AttentionGradients {
  const { query, key, value, scale, softcap = 0, mask } = attention;
  const [batch, heads, rows] = query.shape as [number, number, number, number];
  const [, groups, keys] = key.shape as [number, number, number, number];
  // The heads of a group one below the other: one product for all of them.
  const grouped = (x: Typed) => g.reshape(x, [batch, groups, (heads / groups) * rows, dimAt(x.shape, -1)]);
  const byHead = (x: Typed) => g.reshape(x, [batch, heads, rows, dimAt(x.shape, -1)]);

  const scaledQuery = lazy(() => grouped(g.mul(query, scale)));
  const capped = lazy(() => {
    const products = byHead(g.matMul(scaledQuery(), g.transposeLast(key)));
    return softcap ? g.mul(g.tanh(g.mul(products, 1 / softcap)), softcap) : products;
  });
  const weights = lazy(() => g.softmax(mask ? g.add(capped(), mask.bias) : capped()));

  // A query without keys has no part in anything.
  const attending = lazy(() =>
    mask?.emptyRows
      ? g.reduceMax(
          g.indicator(g.greater(mask.bias, lowest(mask.bias.type)), query.type),
          [mask.bias.shape.length - 1],
          true,
        )
      : undefined,
  );
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
  // Where a key is left out the masked score does not depend on anything.
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
        batch,
        groups,
        keys,
        dimAt(value.shape, -1),
      ]),
    mask: dMasked,
  };
}

/** Which keys a query may see, put together: a number for each score that is added to it. */
export function attentionMask(
  g: Emit,
  parts: {
    /** Added as it is. */
    readonly added?: Typed | undefined;
    /** Booleans: false leaves a key out. */
    readonly allowed?: readonly Typed[];
    /** Leaves every query its own key at least. */
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
  const last = Int32Array.from({ length: rows }, (_, row) => row + offset);
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

/** Σ y·dy by query and head, [B, H, S, 1], for y and dy of shape [B, S, H·V]. */
export function productsByHead(g: Emit, y: Typed, dy: Typed, heads: number): Typed {
  const [batch, rows, width] = y.shape as [number, number, number];
  const sums = g.reduceSum(g.reshape(g.mul(dy, y), [batch, rows, heads, width / heads]), [3], true);
  return g.transpose(sums, [0, 2, 1, 3]);
}

/** Builds a value when it is first asked for. */
export function lazy<T>(build: () => T): () => T {
  let known: { value: T } | undefined;
  return () => {
    known ??= { value: build() };
    return known.value;
  };
}
