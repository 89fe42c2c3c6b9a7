import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";

/**
 * A matrix (or a stack of them) times a number. ONNX Runtime fuses a scalar factor at a MatMul into it as a float32
 * attribute, which is wrong for float64: there the factor is written once a row.
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

/** The same for a factor in the graph, of any float type. */
export function scaledBy(g: Emit, x: Typed, factor: Typed): Typed {
  const own = g.cast(factor, x.type);
  return g.mul(x, x.type === "double" ? g.expand(own, [x.shape.at(-2) ?? 1, 1]) : own);
}
