import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";

/**
 * The smallest 1 − c² and 2 − 2c at which two unit vectors count as different. In float32 both are off by up to 1.4e-6 for
 * any vectors (measured up to 4,608 numbers per vector). From 1e-4 on (an angle of 0.57°) that is at most 1.4 %; below, a
 * slope of 1/√(1 − c²) or 1/(2 − 2c) would consist of rounding errors. Closer vectors get the value of that distance and no
 * slope, in float64 too, so that the penalty is the same function in every type.
 */
export const leastSquaredDistance = 1e-4;

/** The largest cosine that {@link arcsine} takes. */
export const mostCosine = Math.sqrt(1 - leastSquaredDistance);

/**
 * asin c of cosines, clamped to ±`most`. Uses only arithmetic, because CUDA has no kernels and ONNX Runtime 1.19.2 no
 * gradients for Asin, Acos and Atan. With s = √(1 − c²), tan(φ/2) = c/(1 + s); halved twice more, φ = 8·atan(tan(φ/8)) by its
 * series.
 */
export function arcsine(g: Emit, cosines: Typed, most = mostCosine): Typed {
  const within = clamped(g, cosines, most);
  let tangent = g.div(within, g.add(g.sqrt(squaredSine(g, within)), 1));
  for (let halving = 0; halving < 2; halving++) {
    tangent = g.div(tangent, g.add(g.sqrt(g.add(g.square(tangent), 1)), 1));
  }
  // |tan(φ/8)| < 0.199, so the next term is below 1e-16 (float32: 1e-8) of the first.
  const terms = cosines.type === "double" ? 11 : 6;
  const square = g.square(tangent);
  let series: Typed | number = coefficient(terms - 1);
  for (let i = terms - 2; i >= 0; i--) series = g.add(g.mul(square, series), coefficient(i));
  return g.mul(g.mul(tangent, series), 8);
}

/** Coefficients of atan t = t − t³/3 + t⁵/5 − … */
const coefficient = (i: number): number => (i % 2 === 0 ? 1 : -1) / (2 * i + 1);

/** d asin c / dc = 1/√(1 − c²), 0 for cosines beyond `most`. */
export function arcsineSlope(g: Emit, cosines: Typed, most = mostCosine): Typed {
  const inside = g.indicator(g.less(g.abs(cosines), most), cosines.type);
  return g.mul(g.reciprocal(g.sqrt(squaredSine(g, clamped(g, cosines, most)))), inside);
}

const clamped = (g: Emit, x: Typed, most: number): Typed => g.max(g.min(x, most), -most);

const squaredSine = (g: Emit, x: Typed): Typed => g.sub(1, g.square(x));
