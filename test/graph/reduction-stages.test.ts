import { describe, expect, test } from "vitest";
import { Emit } from "../../src/graph/emit.ts";
import { Graph } from "../../src/graph/graph.ts";
import { reductionStages } from "../../src/graph/reduction-stages.ts";
import { reducedShape, type Shape } from "../../src/graph/shapes.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

/** A few large numbers among many small ones, as squares of products with an identity taken off are. */
function skewed(shape: Shape): Float32Array {
  const count = elementCount(shape);
  const numbers = randomFloats(`skewed ${shape.join("x")}`, count, 0, 1).map((x) => 1e-4 * x ** 8);
  for (let i = 0; i < count; i += 513) numbers[i] = 1;
  return numbers;
}

/** Sums over axes in float64. */
function plainSums(data: Float32Array, shape: Shape, axes: readonly number[]): Float64Array {
  const strides = shape.map((_, axis) => elementCount(shape.slice(axis + 1)));
  const kept = shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
  const sums = new Float64Array(elementCount(reducedShape(shape, axes, false)));
  for (let i = 0; i < data.length; i++) {
    let at = 0;
    for (const axis of kept) {
      at = at * (shape[axis] ?? 1) + (Math.floor(i / (strides[axis] ?? 1)) % (shape[axis] ?? 1));
    }
    sums[at] = (sums[at] ?? 0) + (data[i] ?? 0);
  }
  return sums;
}

async function worstError(
  shape: Shape,
  axes: readonly number[],
  openShapes: boolean,
  data = skewed(shape),
): Promise<number> {
  const expected = plainSums(data, shape, axes);
  const graph = new Graph("sum", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "", openShapes });
  const x = graph.addInput("x", "float", shape);
  const results = [
    g.reduceSum(x, axes),
    g.reduceSum(x, axes, true),
    g.reduceMean(x, axes),
    g.reduceMean(x, axes, true),
  ];
  for (const result of results) graph.addOutput(result);
  const found = await runModel(graph, { x: Tensor.of("x", "float", shape, data) });
  const count = data.length / expected.length;
  let worst = 0;
  for (const [i, { name, shape: declared }] of results.entries()) {
    expect(found[name]?.dims).toEqual(reducedShape(shape, axes, i % 2 === 1));
    expect(found[name]?.dims).toEqual(declared);
    const scale = i < 2 ? 1 : count;
    found[name]?.numbers().forEach((value, at) => {
      worst = Math.max(worst, Math.abs((value * scale) / (expected[at] ?? 0) - 1));
    });
  }
  return worst;
}

describe("sums and means of many numbers are those of float64", () => {
  // Weights and their self-convolutions, responses, losses of dense outputs, statistics of channels, gradients of biases.
  const cases: readonly (readonly [Shape, readonly number[]])[] = [
    ...[64, 256, 512, 2048].map(
      (units) =>
        [
          [units, units],
          [0, 1],
        ] as const,
    ),
    ...[64, 256, 512].map(
      (units) =>
        [
          [units, 1, units, 3, 3],
          [0, 2, 3, 4],
        ] as const,
    ),
    [
      [16, 10, 100, 100],
      [0, 1, 2, 3],
    ],
    [
      [32, 8, 32, 32],
      [0, 2, 3],
    ],
    [
      [8, 3, 128, 128],
      [0, 2, 3],
    ],
    [[1024, 16], [0]],
    [[65536, 4], [0]],
    [
      [8, 2048, 4],
      [0, 1],
    ],
    [[4, 65536], [1]],
    [[1 << 20], [0]],
    [
      [512, 4, 1, 1],
      [0, 2, 3],
    ],
  ];
  test.each(cases)("%j over axes %j", async (shape, axes) => {
    expect(await worstError(shape, axes, false)).toBeLessThan(1e-6);
  });

  test("also where no length may stand in the graph, but for axes longer than that", async () => {
    const short = cases.filter(([shape]) => shape.every((length) => length <= 2048) && shape[0] !== 1024);
    for (const [shape, axes] of short) {
      expect(await worstError(shape, axes, true), JSON.stringify([shape, axes])).toBeLessThan(1e-6);
    }
  });
});

test.each([
  [
    [3072, 3072],
    [0, 1],
  ],
  [[3072, 1], [0]],
  [[4096], [0]],
] as const)(
  "equal numbers are rounded the same way in every addition: %j over axes %j",
  async (shape, axes) => {
    const data = new Float32Array(elementCount(shape)).fill(0.9650130858352296);
    expect(await worstError(shape, axes, false, data)).toBeLessThan(5e-6);
  },
);

test.each([
  [[3677, 1], [0]],
  [
    [3677, 3677],
    [0, 1],
  ],
  [[18385, 1, 1], [0]],
] as const)("lengths that cannot be cut are added up side by side: %j over axes %j", async (shape, axes) => {
  const data = new Float32Array(elementCount(shape)).fill(0.9650130858352296);
  // One by one they would be 4e-5 to 7e-5 off.
  expect(await worstError(shape, axes, false, data)).toBeLessThan(2e-5);
});

describe("the stages of a reduction", () => {
  const axesOf = (shape: Shape, axes: readonly number[]) =>
    reductionStages(shape, axes, { cut: true, keepdims: false }).map((stage) => stage.axes);

  test("few numbers are reduced at once", () => {
    expect(axesOf([4, 7, 8, 8], [0, 2, 3])).toEqual([[0, 2, 3]]);
    expect(axesOf([256, 9], [0])).toEqual([[0]]);
  });

  test("the last axes come first, together where they are short", () => {
    expect(axesOf([32, 64, 32, 32], [0, 2, 3])).toEqual([[2, 3], [0]]);
    expect(axesOf([8, 3, 224, 224], [0, 2, 3])).toEqual([[3], [2], [0]]);
    expect(axesOf([512, 1, 512, 5, 5], [0, 2, 3, 4])).toEqual([[3, 4], [2], [0]]);
  });

  test("long single axes are cut where their length is fixed, and divides", () => {
    const piecesOf = (shape: Shape, cut: boolean) =>
      reductionStages(shape, [0], { cut, keepdims: false }).map((stage) => stage.pieces);
    expect(piecesOf([65536, 64], true)).toEqual([[256]]);
    expect(piecesOf([65536, 64], false)).toEqual([[]]);
    expect(piecesOf([1 << 20], true)).toEqual([[1024]]);
    expect(piecesOf([65537, 64], true)).toEqual([[]]);
  });

  test("axes of length 1 behind a long one are dropped, so that its numbers lie side by side", () => {
    expect(reductionStages([3072, 1], [0], { cut: true, keepdims: false })).toEqual([
      { axes: [0], pieces: [1024], dropped: 1 },
    ]);
    expect(reductionStages([3072, 3072], [0, 1], { cut: true, keepdims: true })).toEqual([
      { axes: [1], pieces: [1024], dropped: 0 },
      { axes: [0], pieces: [1024], dropped: 1 },
    ]);
    // 3677 is a prime number: it cannot be cut.
    expect(reductionStages([3677, 1], [0], { cut: true, keepdims: false })).toEqual([
      { axes: [0], pieces: [], dropped: 1 },
    ]);
    expect(reductionStages([3677, 1], [0], { cut: false, keepdims: false })).toEqual([
      { axes: [0], pieces: [], dropped: 0 },
    ]);
  });
});
