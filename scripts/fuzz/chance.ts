import { uniformInt } from "pure-rand/distribution/uniformInt";
import { randomStream } from "../../src/random.ts";

/** Random choices of one case: the same for the same seed and number of the case. */
export class Chance {
  readonly #random: ReturnType<typeof randomStream>;

  constructor(seed: number, number: number) {
    this.#random = randomStream("fuzz", seed, number);
  }

  /** A whole number from 0 to `end` − 1; 0 for an empty range. */
  below(end: number): number {
    return end < 1 ? 0 : uniformInt(this.#random, 0, end - 1);
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  /** @throws RangeError for an empty list */
  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError("nothing to pick from");
    return list[this.below(list.length)] as T;
  }

  /** One of the list; undefined for an empty one. */
  maybe<T>(list: readonly T[] | null | undefined): T | undefined {
    return list?.[this.below(list.length)];
  }

  /** A length: mostly short, seldom as long as `end`. */
  length(end: number): number {
    return this.below(Math.min(end, this.pick([1, 2, 4, 8, 16, 64, end])) + 1);
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256));
  }
}
