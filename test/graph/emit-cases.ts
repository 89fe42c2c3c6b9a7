import type { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { type Case, M, map, one, pick, rows, same, sum, two } from "./emit-case.ts";
import { elementwise } from "./emit-cases-elementwise.ts";
import { shapes } from "./emit-cases-shape.ts";

/** Every method that emits something: a method without a case does not type-check. */
export type Method =
  | {
      [K in keyof Emit]: Emit[K] extends (...args: never[]) => Typed ? K : never;
    }[keyof Emit]
  | "split";

const window = { strides: [2, 1], pads: [1, 0, 1, 2], dilations: [1, 2], group: 2 };
const line = { strides: [1], pads: [0, 0], dilations: [1], group: 1 };

const linear = {
  matMul: [
    two(
      [M, [3, 4]],
      (g, a, b) => g.matMul(a, b),
      (a, b) =>
        rows(a, 3).flatMap((row) => [0, 1, 2, 3].map((j) => sum(row.map((x, i) => x * (b[i * 4 + j] ?? 0))))),
    ),
    two(
      [
        [5, 1, 2, 3],
        [4, 3, 2],
      ],
      (g, a, b) => g.matMul(a, b),
    ),
    two([[3], [2, 3, 4]], (g, a, b) => g.matMul(a, b)),
    two([[2, 3], [3]], (g, a, b) => g.matMul(a, b)),
    two(
      [[3], [3]],
      (g, a, b) => g.matMul(a, b),
      (a, b) => [sum(a.map((x, i) => x * (b[i] ?? 0)))],
    ),
  ],
  gemm: [
    two(
      [
        [1, 2],
        [2, 1],
      ],
      (g, a, b) => g.gemm(a, b),
      (a, b) => [(a[0] ?? 0) * (b[0] ?? 0) + (a[1] ?? 0) * (b[1] ?? 0)],
    ),
    two(
      [
        [3, 2],
        [4, 3],
      ],
      (g, a, b) => g.gemm(a, b, { transA: true, transB: true }),
    ),
    two(
      [
        [2, 3],
        [4, 3],
      ],
      (g, a, b) => g.gemm(a, b, { transB: true }),
    ),
  ],
  einsum: [
    two([M, [3, 4]], (g, a, b) => g.einsum("ij,jk->ki", [a, b]), undefined, 12),
    one(
      [2, 2],
      (g, a) => g.einsum("ii->i", [a]),
      (a) => pick(a, [0, 3]),
      12,
    ),
  ],
  det: [
    one(
      [1, 2, 2],
      (g, a) => g.det(a),
      ([p = 0, q = 0, r = 0, s = 0]) => [p * s - q * r],
    ),
  ],
  dft: [
    one(
      [1, 2, 1],
      (g, a) => g.dft(a, 1),
      ([x = 0, y = 0]) => [x + y, 0, x - y, 0],
      17,
    ),
    one(
      [1, 2, 2],
      (g, a) => g.dft(a, 1, { inverse: true }),
      ([p = 0, q = 0, r = 0, s = 0]) => [p + r, q + s, p - r, q - s].map((x) => x / 2),
      17,
    ),
    one([2, 3, 5, 1], (g, a) => g.dft(a, 2, { onesided: true }), undefined, 17),
  ],
  transpose: [
    one(
      M,
      (g, a) => g.transpose(a),
      (a) => pick(a, [0, 3, 1, 4, 2, 5]),
    ),
    one([2, 3, 4], (g, a) => g.transpose(a, [1, 2, 0])),
    one([2, 3, 4], (g, a) => g.transpose(a, [0, 1, 2]), same),
  ],
  transposeLast: [
    one(
      [1, 2, 3],
      (g, a) => g.transposeLast(a),
      (a) => pick(a, [0, 3, 1, 4, 2, 5]),
    ),
  ],
  conv: [
    two(
      [
        [2, 4, 7, 8],
        [6, 2, 3, 2],
      ],
      (g, a, b) => g.conv(a, b, window),
    ),
    two(
      [
        [1, 1, 4],
        [1, 1, 2],
      ],
      (g, a, b) => g.conv(a, b, line),
      (a, b) => [0, 1, 2].map((i) => (a[i] ?? 0) * (b[0] ?? 0) + (a[i + 1] ?? 0) * (b[1] ?? 0)),
    ),
  ],
  convTranspose: [
    two(
      [
        [2, 4, 5, 6],
        [4, 3, 3, 2],
      ],
      (g, a, b) => g.convTranspose(a, b, { ...window, outputPadding: [1, 0] }),
    ),
    two(
      [
        [1, 1, 2],
        [1, 1, 2],
      ],
      (g, a, b) => g.convTranspose(a, b, { ...line, outputPadding: [0] }),
      ([x = 0, y = 0], [v = 0, w = 0]) => [x * v, x * w + y * v, y * w],
    ),
  ],
} satisfies Record<string, readonly Case[]>;

const reductions = {
  reduceSum: [
    one(
      M,
      (g, a) => g.reduceSum(a),
      (a) => [sum(a)],
    ),
    one(
      M,
      (g, a) => g.reduceSum(a, [-1]),
      (a) => rows(a, 3).map(sum),
    ),
    one([2, 3, 4], (g, a) => g.reduceSum(a, [0, 2], true)),
    one([2, 1, 1], (g, a) => g.reduceSum(a, [1, 2]), same),
  ],
  reduceMean: [
    one(
      M,
      (g, a) => g.reduceMean(a, [1]),
      (a) => rows(a, 3).map((row) => sum(row) / 3),
    ),
  ],
  meanOfAll: [
    one(
      [2, 3, 4],
      (g, a) => g.meanOfAll(a),
      (a) => [sum(a) / 24],
    ),
    one([], (g, a) => g.meanOfAll(a), same),
  ],
  reduceMax: [
    one(
      M,
      (g, a) => g.reduceMax(a, [1], true),
      (a) => rows(a, 3).map((row) => Math.max(...row)),
    ),
  ],
  reduceMin: [
    one(
      M,
      (g, a) => g.reduceMin(a),
      (a) => [Math.min(...a)],
    ),
  ],
  softmax: [
    one(
      [2, 2, 3],
      (g, a) => g.softmax(a),
      (a) =>
        rows(a, 3).flatMap((row) => row.map((x) => Math.exp(x) / sum(row.map((other) => Math.exp(other))))),
    ),
  ],
  affine: [
    ...[
      [2, 3],
      [2, 3, 4],
      [1, 3, 8, 8],
      [2, 3, 1, 1],
    ].flatMap((shape) =>
      (["all", "mean", "scale", "shift"] as const).map((which) =>
        two(
          [shape, [3]],
          (g, x, c) =>
            g.affine(x, which === "all" ? { mean: c, scale: g.neg(c), shift: g.add(c, 1) } : { [which]: c }),
          (x, c) => {
            const inner = x.length / ((shape[0] ?? 1) * 3);
            return x.map((value, i) => {
              const own = c[Math.floor(i / inner) % 3] ?? Number.NaN;
              return {
                all: -(value - own) * own + own + 1,
                mean: value - own,
                scale: value * own,
                shift: value + own,
              }[which];
            });
          },
        ),
      ),
    ),
    one(
      [2, 3],
      (g, x) =>
        g.affine(g.cast(x, "double"), {
          scale: g.numbers([1, 2, 3], [3], "double"),
          shift: g.numbers([4, 5, 6], [3], "double"),
        }),
      (x) => x.map((value, i) => value * ((i % 3) + 1) + (i % 3) + 4),
    ),
  ],
  sumTo: [
    one(
      M,
      (g, a) => g.sumTo(a, [3]),
      (a) => [0, 1, 2].map((j) => (a[j] ?? 0) + (a[j + 3] ?? 0)),
    ),
    one([2, 3, 4], (g, a) => g.sumTo(a, [3, 1])),
    one(
      M,
      (g, a) => g.sumTo(a, []),
      (a) => [sum(a)],
    ),
    one(M, (g, a) => g.sumTo(a, M), same),
    one([1, 3], (g, a) => g.sumTo(a, [3]), same),
  ],
} satisfies Record<string, readonly Case[]>;

const constants = {
  filled: [{ emit: (g) => g.filled(2.5, [2, 2]), expected: () => [2.5, 2.5, 2.5, 2.5] }],
  iota: [{ emit: (g) => g.iota(4), expected: () => [0, 1, 2, 3] }],
  offDiagonal: [{ emit: (g) => g.offDiagonal(2), expected: () => [0, 1, 1, 0] }],
  diagonal: [
    one(
      [3, 3],
      (g, a) => g.diagonal(a),
      (a) => pick(a, [0, 4, 8]),
    ),
    one(
      [2, 2, 2],
      (g, a) => g.diagonal(a),
      (a) => pick(a, [0, 3, 4, 7]),
    ),
  ],
  withDiagonal: [
    two(
      [
        [2, 2, 2],
        [2, 2, 1],
      ],
      (g, a, b) => g.withDiagonal(a, b),
      (a, b) => a.map((x, i) => ([0, 3].includes(i % 4) ? (b[i >> 1] ?? 0) : x)),
    ),
  ],
  identityMatrix: [
    { emit: (g) => g.identityMatrix(3, "double"), expected: () => [1, 0, 0, 0, 1, 0, 0, 0, 1] },
  ],
  constant: [{ emit: (g) => g.constant("float", [2], Float32Array.of(1, -2)), expected: () => [1, -2] }],
  tensorConstant: [
    {
      emit: (g) => g.tensorConstant(Tensor.float("t", [2], Float32Array.of(1, -2))),
      expected: () => [1, -2],
    },
  ],
  numbers: (["float", "double"] as const).map(
    (type): Case => ({ emit: (g) => g.numbers([1, -2.5], [2, 1], type), expected: () => [1, -2.5] }),
  ),
  int64s: [{ emit: (g) => g.int64s([3, -4]), expected: () => [3, -4] }],
  scalar: (["float", "double", "int32", "int64"] as const).map(
    (type): Case => ({ emit: (g) => g.scalar(3, type), expected: () => [3] }),
  ),
  once: [{ emit: (g) => g.once("key", () => g.scalar(1)), expected: () => [1] }],
  overShards: [
    one(
      M,
      (g, a) => g.overShards(a, "sum"),
      map((x) => x),
    ),
  ],
  op: [
    one(
      M,
      (g, a) => g.op("Neg", [a], M),
      map((x) => -x),
    ),
  ],
} satisfies Record<string, readonly Case[]>;

/** Cases of every method of {@link Emit}. */
export const cases: Readonly<Record<Method, readonly Case[]>> = {
  ...elementwise,
  ...linear,
  ...shapes,
  ...reductions,
  ...constants,
};
