import type { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { type Case, flag, M, map } from "./emit-case.ts";

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
/** Cases of the methods that work element by element. */
export const elementwise = {
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
  hardSigmoid: [
    ...unary(
      (g, a) => g.hardSigmoid(g.sub(a, 0.5), 3, 0.5),
      (x) => Math.min(Math.max(3 * (x - 0.5) + 0.5, 0), 1),
    ),
    ...unary(
      (g, a) => g.hardSigmoid(g.cast(a, "double"), 0.5, 0.25),
      (x) => 0.5 * x + 0.25,
    ),
  ],
  positive: [
    ...unary(
      (g, a) => g.positive(g.sub(a, 0.5)),
      (x) => flag(x > 0.5),
    ),
    ...unary(
      (g, a) => g.positive(g.mul(g.sub(a, a), a)),
      () => 0,
    ),
    // The smallest normal number and its negative.
    ...unary(
      (g, a) => g.positive(g.mul(g.sub(g.indicator(g.greater(a, 0.5), "float"), 0.5), 2.3509887e-38)),
      (x) => flag(x > 0.5),
    ),
    ...unary(
      (g, a) => g.positive(g.sub(g.cast(a, "double"), 0.5)),
      (x) => flag(x > 0.5),
    ),
  ],
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
