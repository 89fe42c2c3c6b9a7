import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { broadcastShapes } from "../../graph/shapes.ts";
import { isFloat, isHalf } from "../../onnx/data-types.ts";
import { comparable } from "../comparable.ts";
import { broadcastSamples } from "../makers.ts";
import type { Rule, RuleContext, RuleTable, SampleInput } from "../rule.ts";

const number = (value: number): SampleInput => ({ shape: [], constant: [value], type: "float" });
const numbers = (...values: number[]): SampleInput => ({
  shape: [values.length],
  constant: values,
  type: "float",
});
const integers = (type: "int32" | "int64", ...values: number[]): SampleInput => ({
  shape: [values.length],
  constant: values,
  type,
});
const positive = (...shape: number[]): SampleInput => ({ shape, range: [0.5, 2] });
const negative = (...shape: number[]): SampleInput => ({ shape, range: [-2, -0.5] });
const distinct = (...shape: number[]): SampleInput => ({ shape, distinct: true });

/** ∂aᵇ/∂a = b·aᵇ⁻¹, and 0 where b is 0. Common constant exponents get operators that are cheaper than Pow. */
function powerOfBase(g: Emit, context: RuleContext): Typed | number {
  const [a, b] = [context.input(0), context.input(1)];
  const exponent = b.initializer?.size === 1 ? b.initializer.numbers()[0] : undefined;
  if (exponent === 0 || exponent === 1) return exponent;
  if (exponent === 2) return g.mul(a, 2);
  if (exponent === 3) return g.mul(g.square(a), 3);
  if (exponent === 4) return g.mul(g.mul(g.square(a), a), 4);
  if (exponent === 0.5) return g.div(0.5, context.output(0));
  if (exponent === -1) return g.neg(g.square(context.output(0)));
  if (exponent !== undefined) return g.mul(g.pow(a, exponent - 1), exponent);
  // Native WebGPU has no Pow whose exponent broadcasts along the last axis.
  const powers = g.expand(g.cast(b, a.type), broadcastShapes(a.shape, b.shape));
  return g.where(g.equal(powers, 0), 0, g.mul(powers, g.pow(a, g.sub(powers, 1))));
}

/** Whether the bounds of a Clip are constants, at least one, and the lower one is not above the upper one. */
function boundsInOrder(low: Typed | null | undefined, high: Typed | null | undefined): boolean {
  const numbers = [low, high].flatMap((bound) =>
    bound ? [bound.initializer?.numbers()[0] ?? Number.NaN] : [],
  );
  return numbers.length > 0 && numbers.every((number, i) => number >= (numbers[i - 1] ?? number));
}

/** trunc(a/b). */
function truncatedQuotient(g: Emit, a: Typed, b: Typed): Typed {
  const quotient = g.div(a, b);
  return g.where(g.less(quotient, 0), g.neg(g.floor(g.neg(quotient))), g.floor(quotient));
}

/** Max or Min of any number of operands; operands that tie get equal shares of the gradient, as in PyTorch. */
function extremum(side: "greater" | "less"): Rule {
  return {
    vjp: (context, dy, g) => {
      const { inputs } = context;
      if (inputs.length === 1) return [() => dy];
      if (inputs.length === 2) {
        // 1 where this operand wins, ½ at a tie
        const share = (own: number, other: number) => {
          const [x, rival] = [context.input(own), context.input(other)];
          const [above, below] = [g.greater(x, rival), g.less(x, rival)];
          const [wins, loses] = side === "greater" ? [above, below] : [below, above];
          const lead = g.sub(g.indicator(wins, dy.type), g.indicator(loses, dy.type));
          return g.mul(g.mul(dy, 0.5), g.add(lead, 1));
        };
        return [() => share(0, 1), () => share(1, 0)];
      }
      const operands = inputs.map((_, index) => comparable(g, context.input(index)));
      const select = side === "greater" ? g.max : g.min;
      const y = isHalf(dy.type) ? operands.reduce((a, b) => select(a, b)) : context.output(0);
      const attains = (index: number) => g.indicator(g.equal(operands[index] as Typed, y), dy.type);
      const count = () => inputs.map((_, index) => attains(index)).reduce((a, b) => g.add(a, b));
      return inputs.map((_, index) => () => g.mul(dy, g.div(attains(index), count())));
    },
    samples: [
      { inputs: [distinct(2, 3), distinct(2, 3)] },
      { inputs: [distinct(2, 3), number(0.05)], note: "floor" },
      { inputs: [distinct(2, 2), distinct(2), distinct(2, 1)], note: "three" },
      { inputs: [distinct(2, 3)], note: "one" },
      { inputs: [distinct(), distinct()], note: "scalars" },
      { inputs: [distinct(0, 2), distinct(2)], note: "empty" },
    ],
  };
}

const variadicSamples: Rule["samples"] = [
  { inputs: [[2, 3], [3], []] },
  { inputs: [[2]], note: "one" },
  {
    inputs: [
      [2, 1],
      [1, 3],
    ],
    note: "both ways",
  },
  { inputs: [[], []], note: "scalars" },
  { inputs: [[0, 3], [3]], note: "empty" },
];

export const arithmetic = {
  Add: { vjp: (_, dy) => [() => dy, () => dy], samples: broadcastSamples, linear: true },
  Sub: { vjp: (_, dy, g) => [() => dy, () => g.neg(dy)], samples: broadcastSamples, linear: true },
  Mul: {
    vjp: (context, dy, g) => [() => g.mul(dy, context.input(1)), () => g.mul(dy, context.input(0))],
    samples: broadcastSamples,
    linear: true,
  },
  // d(a/b) = da/b − y·db/b
  Div: {
    vjp: (context, dy, g) => [
      () => g.div(dy, context.input(1)),
      () => g.neg(g.div(g.mul(dy, context.output(0)), context.input(1))),
    ],
    samples: [
      { inputs: [positive(2, 3), positive(2, 3)] },
      { inputs: [positive(2, 3), positive(3)] },
      { inputs: [negative(), negative(4)] },
      { inputs: [positive(2, 1), negative(4, 1, 3)], note: "both ways" },
      { inputs: [positive(0, 3), positive(3)], note: "empty" },
    ],
  },
  // a − b·trunc(a/b); without fmod, ONNX allows integers only
  Mod: {
    vjp: (context, dy, g) => [
      () => dy,
      () => g.neg(g.mul(dy, truncatedQuotient(g, context.input(0), context.input(1)))),
    ],
    samples: [
      {
        inputs: [{ shape: [2, 3], range: [2.1, 2.9] }, numbers(1, 1.02, 0.99)],
        attributes: { fmod: int(1) },
      },
      {
        inputs: [
          { shape: [2, 3], range: [-2.8, -2.3] },
          { shape: [3], range: [1, 1.1] },
        ],
        attributes: { fmod: int(1) },
        note: "negative dividend",
      },
      {
        inputs: [
          { shape: [], range: [2.3, 2.8] },
          { shape: [3], range: [-1.1, -1] },
        ],
        attributes: { fmod: int(1) },
        note: "scalar, negative divisor",
      },
      { inputs: [[0, 3], positive(3)], attributes: { fmod: int(1) }, note: "empty" },
    ],
  },
  // d aᵇ = b·aᵇ⁻¹ da + y·log a db; the exponent's gradient is 0 where a ≤ 0 (PyTorch: at a = 0; NaN below)
  Pow: {
    vjp: (context, dy, g) => {
      const [a, b] = [context.input(0), context.input(1)];
      return [
        () => {
          const local = powerOfBase(g, context);
          return local === 1 ? dy : g.mul(dy, local);
        },
        isFloat(b.type)
          ? () => {
              const above = g.greater(a, 0);
              const weighted = g.mul(dy, g.mul(context.output(0), g.log(g.where(above, a, 1))));
              return g.cast(g.where(above, weighted, 0), b.type);
            }
          : null,
      ];
    },
    samples: [
      { inputs: [positive(2, 3), { shape: [2, 3], range: [-2, 2] }] },
      { inputs: [positive(2, 3), { shape: [3], range: [-2, 2] }], note: "row of exponents" },
      { inputs: [positive(3), { shape: [2, 1], range: [-2, 2] }], note: "both ways" },
      { inputs: [positive(), { shape: [3], range: [-2, 2] }], note: "scalar base" },
      ...[2, 1, 0, 0.5, -1, -0.5].map((exponent) => ({
        inputs: [positive(2, 3), number(exponent)],
        note: `power ${exponent}`,
      })),
      ...[2, 3, 4, 5, -2, -3].map((exponent) => ({
        inputs: [negative(2, 3), number(exponent)],
        note: `negative base, power ${exponent}`,
      })),
      { inputs: [negative(2, 3), integers("int64", 2, 3, 0)], note: "int64 exponents" },
      { inputs: [negative(2, 3), integers("int32", -1)], note: "int32 exponent" },
      { inputs: [[0, 3], number(2)], note: "empty" },
    ],
  },
  Max: extremum("greater"),
  Min: extremum("less"),
  Sum: { vjp: ({ inputs }, dy) => inputs.map(() => () => dy), samples: variadicSamples, linear: true },
  Mean: {
    vjp: ({ inputs }, dy, g) => inputs.map(() => () => g.mul(dy, 1 / inputs.length)),
    samples: variadicSamples,
    linear: true,
  },
  // x gets dy between the bounds and at a bound (as torch.clamp does with numbers); beyond a bound that bound gets dy.
  // The upper bound wins where the bounds cross.
  Clip: {
    vjp: (context, dy, g) => {
      const x = context.input(0);
      const [low, high] = [context.inputs[1], context.inputs[2]];
      const share = (condition: Typed, gradient = dy) => g.mul(gradient, g.indicator(condition, dy.type));
      return [
        () => {
          // Clip keeps what lies between the bounds, so one comparison finds it: half the passes of two comparisons.
          if (boundsInOrder(low, high) && !isHalf(x.type)) return share(g.equal(x, context.output(0)));
          const aboveLow = low ? share(g.greaterOrEqual(x, low)) : dy;
          return high ? share(g.lessOrEqual(x, high), aboveLow) : aboveLow;
        },
        () => {
          const bound = context.input(1);
          const below = share(g.less(x, bound));
          return high ? share(g.lessOrEqual(bound, high), below) : below;
        },
        () => {
          const bound = context.input(2);
          return share(g.greater(low ? g.max(x, low) : x, bound));
        },
      ];
    },
    samples: [
      { inputs: [distinct(4, 5), number(-0.425), number(0.475)] },
      { inputs: [distinct(4, 5), number(0.475), number(-0.425)], note: "constant bounds cross" },
      {
        inputs: [
          distinct(4, 5),
          { shape: [], range: [-0.425, -0.425] },
          { shape: [], range: [0.475, 0.475] },
        ],
        note: "bounds",
      },
      {
        inputs: [
          distinct(4, 5),
          { shape: [], range: [0.575, 0.575] },
          { shape: [], range: [-0.225, -0.225] },
        ],
        note: "bounds cross",
      },
      { inputs: [distinct(4), { shape: [], range: [0.275, 0.275] }], note: "lower bound" },
      { inputs: [distinct(4), null, { shape: [], range: [0.275, 0.275] }], note: "upper bound" },
      { inputs: [[2, 3]], note: "no bounds" },
      { inputs: [{ shape: [], range: [0.2, 0.5] }, number(0)], note: "scalar" },
      { inputs: [[0, 3], number(0)], note: "empty" },
    ],
  },
  Where: {
    vjp: (context, dy, g) => [
      null,
      () => g.where(context.input(0), dy, 0),
      () => g.where(context.input(0), 0, dy),
    ],
    samples: [
      { inputs: [{ shape: [2, 3], constant: [1, 0, 1, 0, 0, 1], type: "bool" }, [2, 3], [2, 3]] },
      { inputs: [{ shape: [3], constant: [1, 0, 1], type: "bool" }, [2, 3], []] },
      { inputs: [{ shape: [2, 1, 1], constant: [1, 0], type: "bool" }, [1], [4, 1]], note: "all broadcast" },
      { inputs: [{ shape: [], constant: [0], type: "bool" }, [], []], note: "scalars" },
      { inputs: [{ shape: [0, 1], constant: [], type: "bool" }, [2], []], note: "empty" },
    ],
    linear: true,
  },
} satisfies RuleTable;
