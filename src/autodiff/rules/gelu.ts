import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";

/** Gradient of x·Φ(x), the exact Gelu: Φ(x) + xφ(x). */
export function geluGradient(g: Emit, dy: Typed, x: Typed): Typed {
  const cdf = g.mul(0.5, g.add(1, g.erf(g.mul(x, Math.SQRT1_2))));
  const density = g.mul(1 / Math.sqrt(2 * Math.PI), g.exp(g.mul(g.square(x), -0.5)));
  return g.mul(dy, g.add(cdf, g.mul(x, density)));
}

/** Gradient of x(1 + tanh u)/2 with u = √(2/π)(x + 0.044715x³): (1 + tanh u)/2 + x(1 − tanh² u)·u′/2. */
export function tanhGeluGradient(g: Emit, dy: Typed, x: Typed): Typed {
  const k = Math.sqrt(2 / Math.PI);
  const x2 = g.square(x);
  const t = g.tanh(g.mul(g.mul(x, k), g.add(1, g.mul(x2, 0.044715))));
  const du = g.add(k, g.mul(x2, 3 * 0.044715 * k));
  return g.mul(g.mul(dy, 0.5), g.add(g.add(1, t), g.mul(g.mul(x, du), g.sub(1, g.square(t)))));
}

/** Gradient of y = x·σ(αx): σ + αy(1 − σ). */
export function sigmoidGeluGradient(g: Emit, dy: Typed, x: Typed, y: Typed, alpha: number): Typed {
  const s = g.sigmoid(g.mul(x, alpha));
  return g.mul(dy, g.add(s, g.mul(g.mul(y, alpha), g.sub(1, s))));
}
