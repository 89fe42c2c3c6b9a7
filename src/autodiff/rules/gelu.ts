import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";

/** z = x/√2, emitted once for each x. */
const overRootTwo = (g: Emit, x: Typed): Typed => g.once(`${x.name}/√2`, () => g.mul(x, Math.SQRT1_2));

/** Φ(x) = (1 + erf z)/2, the distribution function of the normal distribution, emitted once for each x. */
export const normalDistribution = (g: Emit, x: Typed): Typed =>
  g.once(`Φ(${x.name})`, () => {
    const erf = g.erf(overRootTwo(g, x));
    return x.type === "float" ? g.hardSigmoid(erf, 0.5, 0.5) : g.mul(0.5, g.add(1, erf));
  });

/** Gradient of x·Φ(x), the exact Gelu: Φ(x) + xφ(x), where xφ(x) = z·e^(−z² − log √π). */
export function geluGradient(g: Emit, dy: Typed, x: Typed): Typed {
  const z = overRootTwo(g, x);
  const density = g.exp(g.sub(-0.5 * Math.log(Math.PI), g.square(z)));
  return g.mul(dy, g.add(normalDistribution(g, x), g.mul(z, density)));
}

/** Gradient of x(1 + tanh u)/2 with u = √(2/π)(x + 0.044715x³): (1 + tanh u)/2 + x(1 − tanh² u)·u′/2. */
export function tanhGeluGradient(g: Emit, dy: Typed, x: Typed): Typed {
  const k = Math.sqrt(2 / Math.PI);
  const x2 = g.square(x);
  const t = g.tanh(g.mul(g.mul(x, k), g.add(1, g.mul(x2, 0.044715))));
  const du = g.add(k, g.mul(x2, 3 * 0.044715 * k));
  return g.mul(g.mul(dy, 0.5), g.add(g.add(1, t), g.mul(g.mul(x, du), g.sub(1, g.square(t)))));
}

/** σ(αx), emitted once for each x and α. */
export const sigmoidOf = (g: Emit, x: Typed, alpha: number): Typed =>
  g.once(`σ(${alpha}·${x.name})`, () => g.sigmoid(alpha === 1 ? x : g.mul(x, alpha)));

/** Gradient of y = x·σ(αx): σ + αy(1 − σ). */
export function sigmoidGeluGradient(g: Emit, dy: Typed, x: Typed, y: Typed, alpha: number): Typed {
  const s = sigmoidOf(g, x, alpha);
  const weighted = alpha === 1 ? y : g.mul(y, alpha);
  return g.mul(dy, g.add(s, g.mul(weighted, g.sub(1, s))));
}
