import type { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { Tensor } from "../../src/onnx/tensor.ts";

/** Every method that emits something: a method without a case does not type-check. */
export type Method =
  | {
      [K in keyof Emit]: Emit[K] extends (...args: never[]) => Typed ? K : never;
    }[keyof Emit]
  | "split";

/** One call of a method. */
export interface Case {
  /** Shapes of the inputs a, b, …: random numbers in [0.1, 1). */
  readonly inputs?: readonly (readonly number[])[];
  readonly emit: (g: Emit, ...inputs: Typed[]) => Typed;
  /** What comes out, in one flat list, from the inputs in flat lists; left out where ONNX Runtime alone judges. */
  readonly expected?: (...inputs: number[][]) => number[];
  /** First opset in which the operator exists. */
  readonly since?: number;
}

const M = [2, 3];
const map = (f: (x: number) => number) => (a: number[]) => a.map(f);
const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
const pick = (a: number[], at: readonly number[]) => at.map((i) => a[i] ?? Number.NaN);
const rows = (values: number[], width: number) =>
  Array.from({ length: values.length / width }, (_, i) => values.slice(i * width, (i + 1) * width));
const flag = (condition: boolean) => (condition ? 1 : 0);

const unary = (emit: (g: Emit, a: Typed) => Typed, f: (x: number) => number): Case[] => [
  { inputs: [M], emit: (g, a) => emit(g, a as Typed), expected: map(f) },
];

type Binary =
  | ("add" | "sub" | "mul" | "div" | "pow" | "max" | "min")
  | ("equal" | "greater" | "less" | "greaterOrEqual" | "lessOrEqual");

/** Equal shapes, a vector that broadcasts, both that broadcast, and a number on either side. */
const binary = (method: Binary, f: (x: number, y: number) => number, since = 1): Case[] => {
  const emit: Case["emit"] = (g, a, b) => g[method](a as Typed, b as Typed);
  const wrapped = (a: number[], b: number[]) => a.map((x, i) => f(x, b[i % b.length] ?? Number.NaN));
  return [
    { inputs: [M, M], emit, expected: wrapped, since },
    { inputs: [M, [3]], emit, expected: wrapped, since },
    {
      inputs: [
        [4, 1],
        [2, 1, 3],
      ],
      emit,
      since,
    },
    { inputs: [M], emit: (g, a) => g[method](a as Typed, 0.5), expected: map((x) => f(x, 0.5)), since },
    { inputs: [M], emit: (g, a) => g[method](0.5, a as Typed), expected: map((x) => f(0.5, x)), since },
  ];
};

const window = { strides: [2, 1], pads: [1, 0, 1, 2], dilations: [1, 2], group: 2 };
const line = { strides: [1], pads: [0, 0], dilations: [1], group: 1 };
const at = (...indices: readonly (readonly bigint[])[]) =>
  ["int64", [indices.length, indices[0]?.length ?? 0], BigInt64Array.from(indices.flat())] as const;

const elementwise = {
  neg: unary(
    (g, a) => g.neg(a),
    (x) => -x,
  ),
  exp: unary((g, a) => g.exp(a), Math.exp),
  log: unary((g, a) => g.log(a), Math.log),
  sqrt: unary((g, a) => g.sqrt(a), Math.sqrt),
  reciprocal: unary(
    (g, a) => g.reciprocal(a),
    (x) => 1 / x,
  ),
  relu: unary(
    (g, a) => g.relu(g.sub(a, 0.5)),
    (x) => Math.max(x - 0.5, 0),
  ),
  tanh: unary((g, a) => g.tanh(a), Math.tanh),
  sigmoid: unary(
    (g, a) => g.sigmoid(a),
    (x) => 1 / (1 + Math.exp(-x)),
  ),
  softplus: unary(
    (g, a) => g.softplus(a),
    (x) => Math.log1p(Math.exp(x)),
  ),
  abs: unary((g, a) => g.abs(g.neg(a)), Math.abs),
  // erf(x) ≈ 2/√π · Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n + 1))
  erf: unary(
    (g, a) => g.erf(a),
    (x) => {
      let [term, total] = [x, x];
      for (let n = 1; n < 20; n++) {
        term *= (-x * x) / n;
        total += term / (2 * n + 1);
      }
      return (2 / Math.sqrt(Math.PI)) * total;
    },
  ),
  sin: unary((g, a) => g.sin(a), Math.sin),
  cos: unary((g, a) => g.cos(a), Math.cos),
  floor: unary(
    (g, a) => g.floor(g.mul(a, 3)),
    (x) => Math.floor(3 * x),
  ),
  identity: unary(
    (g, a) => g.identity(a),
    (x) => x,
  ),
  not: unary(
    (g, a) => g.not(g.greater(a, 0.5)),
    (x) => flag(x <= 0.5),
  ),
  square: unary(
    (g, a) => g.square(a),
    (x) => x * x,
  ),
  unaryWith: unary(
    (g, a) => g.unaryWith("LeakyRelu", g.neg(a), { alpha: 0.25 }),
    (x) => -x / 4,
  ),
  indicator: unary(
    (g, a) => g.indicator(g.less(a, 0.5), "float"),
    (x) => flag(x < 0.5),
  ),
  add: binary("add", (x, y) => x + y),
  sub: binary("sub", (x, y) => x - y),
  mul: binary("mul", (x, y) => x * y),
  div: binary("div", (x, y) => x / y),
  pow: binary("pow", (x, y) => x ** y),
  max: binary("max", Math.max),
  min: binary("min", Math.min),
  equal: binary("equal", (x, y) => flag(x === y)),
  greater: binary("greater", (x, y) => flag(x > y)),
  less: binary("less", (x, y) => flag(x < y)),
  greaterOrEqual: binary("greaterOrEqual", (x, y) => flag(x >= y), 12),
  lessOrEqual: binary("lessOrEqual", (x, y) => flag(x <= y), 12),
  and: unary(
    (g, a) => g.and(g.greater(a, 0.3), g.less(a, 0.6)),
    (x) => flag(x > 0.3 && x < 0.6),
  ),
  where: [
    { inputs: [M, [3]], emit: (g, a, b) => g.where(g.greater(a as Typed, 0.5), a as Typed, b as Typed) },
    ...unary(
      (g, a) => g.where(g.less(a, 0.5), a, 2),
      (x) => (x < 0.5 ? x : 2),
    ),
    ...unary(
      (g, a) => g.where(g.less(a, 0.5), 1, 2),
      (x) => (x < 0.5 ? 1 : 2),
    ),
  ],
  cast: [
    ...unary(
      (g, a) => g.cast(g.mul(a, 3), "int32"),
      (x) => Math.trunc(3 * x),
    ),
    ...unary(
      (g, a) => g.cast(a, "double"),
      (x) => x,
    ),
    ...unary(
      (g, a) => g.cast(a, "float"),
      (x) => x,
    ),
  ],
} satisfies Record<string, readonly Case[]>;

type Unary = (g: Emit, a: Typed) => Typed;
type Two = (g: Emit, a: Typed, b: Typed) => Typed;
/** A case of one input, or of two. */
const one = (
  shape: readonly number[],
  emit: Unary,
  expected?: (a: number[]) => number[],
  since = 1,
): Case => ({
  ...{ inputs: [shape], emit: (g, a) => emit(g, a as Typed), since },
  ...(expected ? { expected: (a) => expected(a as number[]) } : {}),
});
const two = (
  shapes: readonly [readonly number[], readonly number[]],
  emit: Two,
  expected?: (a: number[], b: number[]) => number[],
  since = 1,
): Case => ({
  ...{ inputs: shapes, emit: (g, a, b) => emit(g, a as Typed, b as Typed), since },
  ...(expected ? { expected: (a, b) => expected(a as number[], b as number[]) } : {}),
});
const same = (a: number[]) => a;

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

const shapes = {
  reshape: [
    one(M, (g, a) => g.reshape(a, [3, 1, 2]), same),
    one([3, 0], (g, a) => g.reshape(a, [0, 2, 1]), same, 14),
  ],
  reshapeAs: [one([2, 3, 4], (g, a) => g.reshapeAs(a, [0, 6, -1], [2, 6, 2]), same)],
  expand: [
    one(
      [3],
      (g, a) => g.expand(a, [2, 3]),
      (a) => [...a, ...a],
    ),
    one(
      [2, 1],
      (g, a) => g.expand(a, [2, 2]),
      (a) => pick(a, [0, 0, 1, 1]),
    ),
  ],
  unsqueeze: [one(M, (g, a) => g.unsqueeze(a, [3, 0]), same)],
  concat: [
    two(
      [M, [1, 3]],
      (g, a, b) => g.concat([a, b], 0),
      (a, b) => [...a, ...b],
    ),
    two([M, [2, 2]], (g, a, b) => g.concat([a, b], -1)),
    one(M, (g, a) => g.concat([a], 0), same),
  ],
  split: [
    one(
      M,
      (g, a) => g.concat(g.split(a, -1, [1, 2]).reverse(), 1),
      (a) => pick(a, [1, 2, 0, 4, 5, 3]),
    ),
    one(M, (g, a) => g.split(a, 0, [2])[0] as Typed, same),
    // More parts than one node makes, twice over.
    one(
      [100],
      (g, a) => g.concat(g.split(a, 0, [3, ...Array<number>(97).fill(1)]).reverse(), 0),
      (a) => [...a.slice(3).reverse(), ...a.slice(0, 3)],
    ),
  ],
  slice: [
    one(
      [6],
      (g, a) => g.slice(a, [{ axis: 0, start: 1, length: 3 }]),
      (a) => a.slice(1, 4),
    ),
    one(
      [6],
      (g, a) => g.slice(a, [{ axis: 0, start: 1, length: 3, step: 2 }]),
      (a) => pick(a, [1, 3, 5]),
    ),
    one(
      [6],
      (g, a) => g.slice(a, [{ axis: 0, start: 5, length: 6, step: -1 }]),
      (a) => [...a].reverse(),
    ),
    one(
      [6],
      (g, a) => g.slice(a, [{ axis: 0, start: 4, length: 2, step: -2 }]),
      (a) => pick(a, [4, 2]),
    ),
    one(
      [4, 5],
      (g, a) =>
        g.slice(a, [
          { axis: 1, start: 2, length: 2 },
          { axis: 0, start: 0, length: 1 },
        ]),
      (a) => a.slice(2, 4),
    ),
    one(M, (g, a) => g.slice(a, [{ axis: 1, start: 0, length: 3 }]), same),
  ],
  pad: [
    one(
      [3],
      (g, a) => g.pad(a, [1, 2]),
      (a) => [0, ...a, 0, 0],
    ),
    one(
      [3],
      (g, a) => g.pad(a, [0, 1], 7),
      (a) => [...a, 7],
    ),
    one(
      [5],
      (g, a) => g.pad(a, [-1, -2]),
      (a) => a.slice(1, 3),
    ),
    one(M, (g, a) => g.pad(a, [1, 0, -1, 2])),
  ],
  gather: [
    one(
      [4, 2],
      (g, a) => g.gather(a, g.int64s([2, 0])),
      (a) => pick(a, [4, 5, 0, 1]),
    ),
    one(
      M,
      (g, a) => g.gather(a, g.int64s([1, 1]), -1),
      (a) => pick(a, [1, 1, 4, 4]),
    ),
  ],
  scatterAdd: [
    two(
      [[3], [2]],
      (g, a, b) => g.scatterAdd(a, g.constant(...at([2n], [2n])), b),
      (a, b) => [a[0] ?? 0, a[1] ?? 0, (a[2] ?? 0) + sum(b)],
      16,
    ),
  ],
  scatter: [
    two(
      [[3], [1]],
      (g, a, b) => g.scatter(a, g.constant(...at([2n])), b),
      ([x = 0, y = 0], [z = 0]) => [x, y, z],
    ),
    two(
      [[3], [2]],
      (g, a, b) => g.scatter(a, g.constant(...at([2n], [2n])), b, "mul"),
      ([x = 0, y = 0, z = 0], [u = 0, v = 0]) => [x, y, z * u * v],
      16,
    ),
  ],
  gatherND: [
    one(
      [2, 3, 4],
      (g, a) => g.gatherND(a, g.constant(...at([1n, 2n], [0n, 1n]))),
      (a) => [...a.slice(20), ...a.slice(4, 8)],
      12,
    ),
  ],
  gatherElements: [
    one(
      M,
      (g, a) => g.gatherElements(a, g.constant("int64", [2, 2], BigInt64Array.of(2n, 0n, 1n, 1n)), -1),
      (a) => pick(a, [2, 0, 4, 4]),
    ),
  ],
  scatterElementsAdd: [
    two(
      [M, [2, 2]],
      (g, a, b) =>
        g.scatterElementsAdd(a, g.constant("int64", [2, 2], BigInt64Array.of(2n, 0n, 1n, 1n)), b, 1),
      ([p = 0, q = 0, r = 0, s = 0, t = 0, u = 0], [v = 0, w = 0, x = 0, y = 0]) => [
        ...[p + w, q, r + v],
        ...[s, t + x + y, u],
      ],
      16,
    ),
  ],
  scatterElements: [
    two(
      [M, [2, 1]],
      (g, a, b) => g.scatterElements(a, g.constant("int32", [2, 1], Int32Array.of(2, 0)), b, 1),
      ([p = 0, q = 0, , , t = 0, u = 0], [v = 0, w = 0]) => [p, q, v, w, t, u],
    ),
    two(
      [M, [2, 1]],
      (g, a, b) => g.scatterElements(a, g.constant("int32", [2, 1], Int32Array.of(2, 0)), b, -1, "mul"),
      ([p = 0, q = 0, r = 0, s = 0, t = 0, u = 0], [v = 0, w = 0]) => [p, q, r * v, s * w, t, u],
      16,
    ),
  ],
  trilu: [
    one(
      M,
      (g, a) => g.trilu(a, 0, true),
      ([p = 0, q = 0, r = 0, , t = 0, u = 0]) => [p, q, r, 0, t, u],
      14,
    ),
    one(
      M,
      (g, a) => g.trilu(a, -1, false),
      ([, , , s = 0]) => [0, 0, 0, s, 0, 0],
      14,
    ),
  ],
  reverseSequence: [
    one(
      M,
      (g, a) => g.reverseSequence(a, g.int64s([2, 3]), { batchAxis: 0, timeAxis: 1 }),
      (a) => pick(a, [1, 0, 2, 5, 4, 3]),
    ),
  ],
  cumSum: [
    one(
      [3],
      (g, a) => g.cumSum(a, 0),
      ([x = 0, y = 0, z = 0]) => [x, x + y, x + y + z],
    ),
    one(
      [3],
      (g, a) => g.cumSum(a, -1, { reverse: true, exclusive: true }),
      ([, y = 0, z = 0]) => [y + z, z, 0],
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
