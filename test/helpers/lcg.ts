/**
 * Random numbers that Python and TypeScript generate identically, so that fixtures store only results, not inputs or
 * weights. The twin is scripts/oracles/lcg.py; change both or neither.
 *
 * Each block of numbers has a name. The name's 32-bit hash (FNV-1a) seeds a linear congruential generator (Numerical
 * Recipes: s ← 1664525·s + 1013904223 mod 2³²); the upper 24 bits of each state are a number in [0, 1) that float32
 * represents exactly.
 */
export class Lcg {
  #state: number;

  constructor(name: string) {
    let hash = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
    this.#state = hash >>> 0;
  }

  /** The next number in [0, 1), a multiple of 2⁻²⁴. */
  next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return (this.#state >>> 8) / 2 ** 24;
  }
}

/**
 * The block `name`: `count` numbers uniform in [−scale, scale), rounded to float32.
 *
 * @example
 * uniform("fc1.weight", 12, 0.5);
 */
export function uniform(name: string, count: number, scale = 1): Float32Array {
  const generator = new Lcg(name);
  return Float32Array.from({ length: count }, () => (2 * generator.next() - 1) * scale);
}

/** The block `name` as class indices 0 … classes−1. */
export function labels(name: string, count: number, classes: number): number[] {
  const generator = new Lcg(name);
  return Array.from({ length: count }, () => Math.floor(generator.next() * classes));
}

/** The block `name` as signs, +1 and −1: a direction along which two gradients are compared. */
export function signs(name: string, count: number): Float32Array {
  const generator = new Lcg(name);
  return Float32Array.from({ length: count }, () => (generator.next() < 0.5 ? -1 : 1));
}
