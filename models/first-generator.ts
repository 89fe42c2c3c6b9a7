import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";

/**
 * The random generator of the sample models, which uses a seed directly as its state. Everything else is seeded differently
 * (see src/random.ts). It remains so that the published files, on which many figures depend, keep their bytes.
 */
export const firstGenerator = (seed: number): RandomGenerator => xoroshiro128plus(seed);
