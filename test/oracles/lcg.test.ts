import { expect, test } from "vitest";
import { labels, signs, uniform } from "../helpers/lcg.ts";

// Made by scripts/oracles/lcg.py: uniform("fc1.weight", [4], 0.3), labels("labels", 8, 10), signs("v", 8).
test("named blocks are the numbers that Python makes", () => {
  expect(Array.from(uniform("fc1.weight", 4, 0.3))).toEqual([
    0.11989030987024307, -0.03350154310464859, 0.012035572901368141, 0.2888141870498657,
  ]);
  expect(labels("labels", 8, 10)).toEqual([7, 8, 0, 5, 4, 1, 8, 2]);
  expect(Array.from(signs("v", 8))).toEqual([1, -1, 1, -1, -1, 1, -1, -1]);
});
