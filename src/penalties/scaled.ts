import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";

/**
 * A matrix (or a stack of them) times a number. For float64 the factor is written once per row, because ONNX Runtime would
 * fuse a scalar factor next to a MatMul into it as a float32 attribute.
 */
export function scaled(g: Emit, x: Typed, factor: number): Typed {
  if (factor === 1) return x;
  if (x.type !== "double") return g.mul(x, factor);
  const rows = x.shape.at(-2) ?? 1;
  return g.mul(
    x,
    g.numbers(
      Array.from({ length: rows }, () => factor),
      [rows, 1],
      x.type,
    ),
  );
}

/** The same for a factor that is a value of the graph, in any float type. */
export function scaledBy(g: Emit, x: Typed, factor: Typed): Typed {
  const own = g.cast(factor, x.type);
  return g.mul(x, x.type === "double" ? g.expand(own, [x.shape.at(-2) ?? 1, 1]) : own);
}

/**
 * The weight of a penalty's gradient with respect to responses. The gradients of a shard are those of its own mean loss, whose
 * mean over the shards is that of the batch; so a loss of all shards together counts as many times as there are shards.
 */
export function ofShard(g: Emit, weight: Typed | undefined): Typed | undefined {
  if (g.shards === 1) return weight;
  return weight ? g.once(`${weight.name} of a shard`, () => g.mul(weight, g.shards)) : g.scalar(g.shards);
}
