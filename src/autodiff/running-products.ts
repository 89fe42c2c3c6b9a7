import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt } from "../graph/shapes.ts";

/** From the front of an axis to its end, or the other way. */
export type Direction = "forward" | "backward";

/** The elements moved `by` places along an axis in a direction; the places left empty hold `fill`. */
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
 * The product of all elements before each one, 1 for the first: in log₂ n steps, each doubling the span of a product.
 * Nothing is divided, so zeros are harmless.
 */
export function productsBefore(g: Emit, x: Typed, axis: number, direction: Direction): Typed {
  const n = dimAt(x.shape, axis);
  let products = shifted(g, x, axis, { by: 1, direction, fill: 1 });
  for (let by = 1; by < n; by *= 2) {
    products = g.mul(products, shifted(g, products, axis, { by, direction, fill: 1 }));
  }
  return products;
}

/** sᵢ = bᵢ + aᵢ·sᵢ₊₁ in the direction against `direction`, from 0 behind the last element; in log₂ n steps. */
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
