import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { lazy } from "../lazy.ts";
import {
  type AttentionMask,
  type AttentionOutputGradients,
  attentionGradients,
} from "./dot-product-attention.ts";

/** Numbers of queries (`rows`) and keys; `past` of the keys come from the cache. */
export interface Extent {
  readonly rows: number;
  readonly keys: number;
  readonly past: number;
}

/** Attention over cached keys and values (if any) followed by new ones. Every tensor is [batch, heads, length, width]. */
interface CachedAttention {
  readonly query: Typed;
  readonly key: Typed;
  readonly value: Typed;
  readonly pastKey?: Typed | null | undefined;
  readonly pastValue?: Typed | null | undefined;
  /** Past and new keys joined, if the forward node outputs them. */
  readonly presentKey?: Typed | null | undefined;
  readonly presentValue?: Typed | null | undefined;
  /** Default: 1/√(width of a key). */
  readonly scale: number | undefined;
  readonly softcap?: number;
  readonly mask: (extent: Extent) => AttentionMask | undefined;
}

/** Gradients of the outputs, including those of the cache that the node returns. */
interface CachedOutputGradients extends AttentionOutputGradients {
  readonly presentKey?: Typed | undefined;
  readonly presentValue?: Typed | undefined;
}

/** Gradients of the operands of {@link CachedAttention}; each is emitted when its function is called. */
type CachedGradients = Readonly<
  Record<"query" | "key" | "value" | "pastKey" | "pastValue" | "mask", () => Typed>
>;

/** Gradients of attention over past and new keys and values. */
export function cachedAttentionGradients(
  g: Emit,
  attention: CachedAttention,
  outputs: CachedOutputGradients,
): CachedGradients {
  const { query, pastKey, pastValue } = attention;
  const past = pastKey ? dimAt(pastKey.shape, 2) : 0;
  const core = lazy(() => {
    const key = attention.presentKey ?? (pastKey ? g.concat([pastKey, attention.key], 2) : attention.key);
    const value =
      attention.presentValue ?? (pastValue ? g.concat([pastValue, attention.value], 2) : attention.value);
    const mask = attention.mask({ rows: dimAt(query.shape, 2), keys: dimAt(key.shape, 2), past });
    const scale = attention.scale ?? 1 / Math.sqrt(dimAt(query.shape, 3));
    return attentionGradients(g, { ...attention, key, value, scale, mask }, outputs);
  });
  const whole = (operand: "key" | "value", presented: Typed | undefined) =>
    lazy(() => {
      const gradient = core()[operand]();
      return presented ? g.add(gradient, presented) : gradient;
    });
  const keys = whole("key", outputs.presentKey);
  const values = whole("value", outputs.presentValue);
  const old = (gradient: Typed) => g.slice(gradient, [{ axis: 2, start: 0, length: past }]);
  const recent = (gradient: Typed) =>
    g.slice(gradient, [{ axis: 2, start: past, length: dimAt(gradient.shape, 2) - past }]);
  return {
    query: lazy(() => core().query()),
    key: lazy(() => recent(keys())),
    value: lazy(() => recent(values())),
    pastKey: () => old(keys()),
    pastValue: () => old(values()),
    mask: () => core().mask(),
  };
}
