import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";

/**
 * The generator with which the sample models were first drawn: seeds go into its state as they are. Nothing else is seeded
 * like this (see src/random.ts); here it keeps the published files, whose bytes many figures rest on, as they are.
 */
export const firstGenerator = (seed: number): RandomGenerator => xoroshiro128plus(seed);
