import { expect, test } from "vitest";
import { isTransposedTimesVector } from "../../src/analysis/transposed-times-vector.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** Whether `MatMul(Transpose(x), v)` is found to be such a product. */
function isFound(dims: (number | string)[], perm?: number[]): boolean {
  const b = new GraphBuilder();
  const turned = b.op("Transpose", [b.input("x", dims)], "turned", perm && { perm });
  b.output(b.op("MatMul", [turned, b.weight("v", [5])], "y"));
  return b.graph.nodes.some(isTransposedTimesVector);
}

test("the last two axes are swapped, and no others", () => {
  expect(isFound(["batch", 5, 3], [0, 2, 1])).toBe(true);
  expect(isFound([3, 5, 2], [2, 1, 0])).toBe(false);
  expect(isFound(["batch", 5], [1, 0])).toBe(true);
});

test("without perm all axes are reversed, so that the number of axes decides", () => {
  expect(isFound(["batch", 5])).toBe(true);
  expect(isFound([3, 2, 5])).toBe(false);
  const b = new GraphBuilder();
  const hidden = b.op("Transpose", [b.op("Relu", [b.input("x", [5, 3])], "r")], "turned");
  b.output(b.op("MatMul", [hidden, b.weight("v", [5])], "y"));
  expect(b.graph.nodes.some(isTransposedTimesVector)).toBe(false);
});
