import type { SampleInput } from "../../src/autodiff/rule.ts";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { Chance } from "../fuzz/chance.ts";

/** Random choices for the sample of an operator. */
export class Draw extends Chance {
  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** A shape of so many axes. */
  shape(rank: number, least = 1, most = 4): number[] {
    return this.list(rank, () => this.between(least, most));
  }

  list<T>(count: number, make: (index: number) => T): T[] {
    return Array.from({ length: count }, (_, index) => make(index));
  }

  shuffled<T>(list: readonly T[]): T[] {
    const result = [...list];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [result[i], result[j]] = [result[j] as T, result[i] as T];
    }
    return result;
  }

  /** Some axes of a tensor, in any order. */
  axes(rank: number, least = 1): number[] {
    return this.shuffled([...Array(rank).keys()]).slice(0, this.between(least, rank));
  }

  /** An axis as files name it: counted from the front, or from the back. */
  named(axis: number, rank: number): number {
    return this.once(2) ? axis : axis - rank;
  }

  /** Numbers for indices below `end`, half of them counted from the back. */
  indices(shape: readonly number[], end: number): SampleInput {
    return constant(
      shape,
      this.list(elementCount(shape), () => this.between(-end, end - 1)),
    );
  }

  /** Two shapes that broadcast to one. */
  broadcast(rank = this.below(5)): [number[], number[]] {
    const full = this.shape(rank);
    const part = () =>
      full.slice(this.once(2) ? this.below(rank + 1) : 0).map((dim) => (this.once(3) ? 1 : dim));
    return this.once(2) ? [part(), this.once(2) ? full : part()] : [full, part()];
  }
}

/** A fixed input: axes, shapes, indices. */
export const constant = (
  shape: readonly number[],
  numbers: readonly number[],
  type: DataTypeName = "int64",
): SampleInput => ({ shape: [...shape], constant: [...numbers], type });

/** A fixed vector. */
export const vector = (numbers: readonly number[], type: DataTypeName = "int64"): SampleInput =>
  constant([numbers.length], numbers, type);

/** A random input whose numbers lie in a range. */
export const within = (shape: readonly number[], low: number, high: number): SampleInput => ({
  shape: [...shape],
  range: [low, high],
});

/** A random input without two equal numbers. */
export const distinct = (shape: readonly number[]): SampleInput => ({ shape: [...shape], distinct: true });
