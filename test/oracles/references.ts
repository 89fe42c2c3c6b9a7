import { readFileSync } from "node:fs";
import { decodeModel, type Model } from "../../src/onnx/model.ts";
import { signs } from "../helpers/lcg.ts";
import { maxAbs } from "../helpers/numbers.ts";

/** A tensor as scripts/oracles/summary.py keeps it. */
export interface Summary {
  readonly shape: readonly number[];
  /** max |g| */
  readonly max: number;
  readonly norm: number;
  /** Product with the signs of the block `direction.<name>`. */
  readonly dot: number;
  /** Flat indices of `values`; all of them if absent. */
  readonly at?: readonly number[];
  readonly values: readonly number[];
}

const fixtures = new URL("../fixtures/", import.meta.url);

/** A JSON file of test/fixtures. */
export function fixture<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, fixtures), "utf8")) as T;
}

/** A model of test/fixtures. */
export function modelFixture(path: string): Model {
  return decodeModel(readFileSync(new URL(path, fixtures)));
}

/**
 * The largest error of a tensor, as far as its summary shows it, divided by `scale`. The norm and the dot product of an
 * error of at most e in each of n entries are off by at most e·√n and e·n: they are divided by that.
 */
export function summaryError(
  name: string,
  actual: ArrayLike<number>,
  expected: Summary,
  scale = expected.max,
): number {
  const size = expected.shape.reduce((product, dim) => product * dim, 1);
  if (actual.length !== size) throw new RangeError(`${name} has ${actual.length} numbers, not ${size}`);
  const numbers = Array.from(actual);
  const at = expected.at ?? numbers.map((_, index) => index);
  const direction = signs(`direction.${name}`, size);
  const errors = [
    ...at.map((index, i) => (numbers[index] as number) - (expected.values[i] as number)),
    maxAbs(numbers) - expected.max,
    (Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0)) - expected.norm) / Math.sqrt(size),
    (numbers.reduce((sum, value, i) => sum + value * (direction[i] as number), 0) - expected.dot) / size,
  ];
  return maxAbs(errors) / scale;
}

/**
 * What the error of each gradient is measured by: its own largest entry. A gradient that is zero but for rounding (a
 * bias before BatchNormalization) has none; there it is the largest entry of all gradients.
 */
export function gradientScale(gradient: Summary, all: Readonly<Record<string, Summary>>): number {
  const largest = Math.max(...Object.values(all).map(({ max }) => max));
  return gradient.max > 1e-12 * largest ? gradient.max : largest;
}

/** A matrix [rows, columns], transposed. */
export function transposed(data: ArrayLike<number>, rows: number, columns: number): number[] {
  return Array.from(
    { length: rows * columns },
    (_, i) => data[(i % rows) * columns + Math.floor(i / rows)] as number,
  );
}
