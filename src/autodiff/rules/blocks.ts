import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";

/** Sums along an axis over blocks of `block` elements, of which the last may be shorter: […, n, …] → […, blocks, …]. */
export function sumOverBlocks(g: Emit, x: Typed, axis: number, block: number): Typed {
  const { shape } = x;
  const length = dimAt(shape, axis);
  const blocks = Math.ceil(length / block);
  const whole = g.pad(x, [
    ...shape.map(() => 0),
    ...shape.map((_, other) => (other === axis ? blocks * block - length : 0)),
  ]);
  const split = [...shape.slice(0, axis), blocks, block, ...shape.slice(axis + 1)];
  return g.reduceSum(g.reshape(whole, split), [axis + 1]);
}

/**
 * The same scales, computed from the gradient that arrives: so a weight is dequantized when the gradient needs it. Otherwise
 * ONNX Runtime dequantizes every weight first and keeps all of them (docs/decisions.md, "Quantized bases").
 */
export function whenArrived(g: Emit, scales: Typed, dy: Typed): Typed {
  return elementCount(dy.shape) === 0 ? scales : g.add(scales, g.mul(g.reduceMin(dy), 0));
}
