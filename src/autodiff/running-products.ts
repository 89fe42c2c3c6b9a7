import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt } from "../graph/shapes.ts";

/** Along an axis from its first element to its last, or from its last to its first. */
type Direction = "forward" | "backward";

/** `x` with its elements moved `by` places along an axis; the vacated places hold `fill`. */
export function shifted(
  g: Emit,
  x: Typed,
  axis: number,
  { by, direction, fill }: { by: number; direction: Direction; fill: number },
): Typed {
  const begin = direction === "forward" ? by : -by;
  const along = (pad: number) => x.shape.map((_, other) => (other === axis ? pad : 0));
  return g.pad(x, [...along(begin), ...along(-begin)], fill);
}

/**
 * For each element the product of all elements before it (1 for the first), in log₂ n steps that each double the span
 * of a product. Zeros are harmless, since nothing is divided.
 */
export function productsBefore(g: Emit, x: Typed, axis: number, direction: Direction): Typed {
  const n = dimAt(x.shape, axis);
  let products = shifted(g, x, axis, { by: 1, direction, fill: 1 });
  for (let by = 1; by < n; by *= 2) {
    products = g.mul(products, shifted(g, products, axis, { by, direction, fill: 1 }));
  }
  return products;
}

/** Solves sᵢ = bᵢ + aᵢ·sᵢ₊₁ against `direction`, starting with 0 after the last element, in log₂ n steps. */
export function recurrence(g: Emit, a: Typed, b: Typed, axis: number, direction: Direction): Typed {
  const n = dimAt(b.shape, axis);
  const back: Direction = direction === "forward" ? "backward" : "forward";
  const ahead = (x: Typed, by: number) => shifted(g, x, axis, { by, direction: back, fill: 0 });
  let [factors, sums] = [a, b];
  for (let by = 1; by < n; by *= 2) {
    sums = g.add(sums, g.mul(factors, ahead(sums, by)));
    if (2 * by < n) factors = g.mul(factors, ahead(factors, by));
  }
  return sums;
}
