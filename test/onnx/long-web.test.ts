import Long from "long";
import { expect, test } from "vitest";
import OwnLong from "../../src/onnx/long-web.ts";

const numbers = [0, 1, -1, 7.9, -7.9, 2 ** 31, -(2 ** 31), 2 ** 32 + 5, 2 ** 53 - 1, -(2 ** 53) + 1, 1e18];
const edges = [2 ** 63, -(2 ** 63), 2 ** 64, 1e30, -1e30, Number.NaN, Number.POSITIVE_INFINITY];
const bits = ({ low, high, unsigned }: { low: number; high: number; unsigned: boolean }) => [
  low,
  high,
  unsigned,
];

test.each([false, true])("numbers are those of the package long (unsigned: %s)", (unsigned) => {
  for (const value of [...numbers, ...edges]) {
    const [own, theirs] = [OwnLong.fromNumber(value, unsigned), Long.fromNumber(value, unsigned)];
    expect(bits(own), `${value}`).toEqual(bits(theirs));
    expect(own.toNumber()).toBe(theirs.toNumber());
    expect(own.toString()).toBe(theirs.toString());
    expect(own.equals(OwnLong.fromString(theirs.toString(), unsigned))).toBe(true);
    expect(bits(OwnLong.fromValue(theirs))).toEqual(bits(theirs));
  }
  for (const [low, high] of [
    [-1, -1],
    [0, -2147483648],
    [-1, 2147483647],
  ] as const) {
    const [own, theirs] = [OwnLong.fromBits(low, high, unsigned), Long.fromBits(low, high, unsigned)];
    expect(own.toString()).toBe(theirs.toString());
    expect(own.toBigInt()).toBe(BigInt(theirs.toString()));
  }
  expect(Long.isLong(OwnLong.fromNumber(3))).toBe(true);
  expect(OwnLong.isLong(Long.fromNumber(3))).toBe(true);
  expect(OwnLong.isLong(3)).toBe(false);
});
