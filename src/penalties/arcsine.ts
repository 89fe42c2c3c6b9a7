import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";

/** The least 1 − c²: keeps the slope of an angle finite where two vectors lie along one line (θ = 0 or 180°). */
export const leastSquaredSine = 1e-9;

/**
 * asin c of cosines from −1 to 1, from arithmetic alone: CUDA has no kernels for Asin, Acos and Atan, and ONNX Runtime
 * 1.19.2 no gradients. With s = √max(1 − c², ε), tan(φ/2) = c/(1 + s), halved twice more, φ = 8·atan(tan(φ/8)) by its series.
 */
export function arcsine(g: Emit, cosines: Typed): Typed {
  const sine = g.sqrt(squaredSine(g, cosines));
  let tangent = g.div(cosines, g.add(sine, 1));
  for (let halving = 0; halving < 2; halving++) {
    tangent = g.div(tangent, g.add(g.sqrt(g.add(g.square(tangent), 1)), 1));
  }
  // |tan(φ/8)| < 0.199: the next term is below 1e-16 (1e-8 in float32) of the first.
  const terms = cosines.type === "double" ? 11 : 6;
  const square = g.square(tangent);
  let series: Typed | number = coefficient(terms - 1);
  for (let i = terms - 2; i >= 0; i--) series = g.add(g.mul(square, series), coefficient(i));
  return g.mul(g.mul(tangent, series), 8);
}

/** Of atan t = t − t³/3 + t⁵/5 − … */
const coefficient = (i: number): number => (i % 2 === 0 ? 1 : -1) / (2 * i + 1);

/** d asin c / dc = 1/√max(1 − c², ε). */
export const arcsineSlope = (g: Emit, cosines: Typed): Typed => g.reciprocal(g.sqrt(squaredSine(g, cosines)));

const squaredSine = (g: Emit, cosines: Typed): Typed => g.max(g.sub(1, g.square(cosines)), leastSquaredSine);
