import { Lcg } from "./lcg.ts";

/** Seeded numbers uniform in [low, high), as float32. The seed is a name, so that two tests do not share one by accident. */
export function randomFloats(name: string, count: number, low = -1, high = 1): Float32Array {
  const generator = new Lcg(name);
  return Float32Array.from({ length: count }, () => low + (high - low) * generator.next());
}

/** Seeded integers from low to high − 1. */
export function randomInts(name: string, count: number, low: number, high: number): number[] {
  const generator = new Lcg(name);
  return Array.from({ length: count }, () => low + Math.floor(generator.next() * (high - low)));
}

/** Seeded standard normal numbers (Box–Muller), as float32. */
export function randomNormals(name: string, count: number): Float32Array {
  const generator = new Lcg(name);
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - generator.next()));
    return radius * Math.cos(2 * Math.PI * generator.next());
  });
}

/** max |aᵢ|; NaN if any aᵢ is NaN. */
export function maxAbs(a: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const magnitude = Math.abs(a[i] as number);
    if (!(magnitude <= largest)) largest = magnitude;
    if (Number.isNaN(largest)) return Number.NaN;
  }
  return largest;
}

/** max |aᵢ − bᵢ|. @throws RangeError when the lengths differ */
export function maxDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) {
    throw new RangeError(`${actual.length} numbers compared with ${expected.length}`);
  }
  return maxAbs(Array.from(actual, (value, i) => value - (expected[i] as number)));
}

/** max |aᵢ − bᵢ| / max |bᵢ|: the error relative to the largest expected number. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  return maxDifference(actual, expected) / Math.max(maxAbs(expected), Number.MIN_VALUE);
}
