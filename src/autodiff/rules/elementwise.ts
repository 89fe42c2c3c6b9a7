import { int } from "../../graph/attribute.ts";
import { DataType, isFloat } from "../../onnx/data-types.ts";
import { bothSides, unary, unaryFrom } from "../makers.ts";
import type { Rule, RuleTable, Sample } from "../rule.ts";

const within = (low: number, high: number): Sample => ({ inputs: [[2, 3]], range: [low, high] });
const positive = within(0.2, 3);
const unit = within(-0.8, 0.8);
/** The gradient in the operand's own float type; integers get none. */
const castBack: Rule["vjp"] = (context, dy, g) => [
  isFloat(context.input(0).type) ? () => g.cast(dy, context.input(0).type) : null,
  null,
];

export const elementwise = {
  Identity: {
    vjp: (_, dy) => [() => dy],
    samples: [{ inputs: [[2, 3]] }, { inputs: [[]] }, { inputs: [[0]] }],
    linear: true,
  },
  Neg: { vjp: (_, dy, g) => [() => g.neg(dy)], samples: [{ inputs: [[2, 3]] }], linear: true },
  // d eˣ = y
  Exp: unary((_, _x, y) => y),
  // d log x = 1/x
  Log: unary((g, x) => g.reciprocal(x), positive),
  // d √x = 1/(2y)
  Sqrt: unaryFrom((g, dy, _x, y) => g.div(g.mul(dy, 0.5), y), positive),
  // d 1/x = −y²
  Reciprocal: unaryFrom((g, dy, _x, y) => g.neg(g.mul(dy, g.square(y))), positive),
  // d |x| = sign x, 0 at 0
  Abs: unaryFrom(
    (g, dy, x) => g.where(g.greater(x, 0), dy, g.mul(dy, g.neg(g.indicator(g.less(x, 0), x.type)))),
    ...bothSides,
  ),
  Sin: unary((g, x) => g.cos(x)),
  Cos: unaryFrom((g, dy, x) => g.neg(g.mul(dy, g.sin(x)))),
  // d tan x = 1 + y²
  Tan: unary((g, _x, y) => g.add(1, g.square(y))),
  // d sinh x = cosh x
  Sinh: unary((g, x) => g.mul(0.5, g.add(g.exp(x), g.exp(g.neg(x))))),
  Cosh: unary((g, x) => g.mul(0.5, g.sub(g.exp(x), g.exp(g.neg(x))))),
  // d tanh x = 1 − y², as dy − dy·y²
  Tanh: unaryFrom((g, dy, _x, y) => g.sub(dy, g.mul(dy, g.square(y)))),
  // d σ(x) = y(1 − y)
  Sigmoid: unaryFrom((g, dy, _x, y) => g.mul(g.mul(dy, y), g.sub(1, y))),
  // d atan x = 1/(1 + x²)
  Atan: unaryFrom((g, dy, x) => g.div(dy, g.add(1, g.square(x)))),
  // d asin x = 1/√(1 − x²)
  Asin: unaryFrom((g, dy, x) => g.div(dy, g.sqrt(g.sub(1, g.square(x)))), unit),
  Acos: unaryFrom((g, dy, x) => g.neg(g.div(dy, g.sqrt(g.sub(1, g.square(x))))), unit),
  // d asinh x = 1/√(x² + 1)
  Asinh: unaryFrom((g, dy, x) => g.div(dy, g.sqrt(g.add(g.square(x), 1)))),
  // d acosh x = 1/√(x² − 1)
  Acosh: unaryFrom((g, dy, x) => g.div(dy, g.sqrt(g.sub(g.square(x), 1))), within(1.2, 3)),
  // d atanh x = 1/(1 − x²)
  Atanh: unaryFrom((g, dy, x) => g.div(dy, g.sub(1, g.square(x))), unit),
  // d erf x = 2/√π · e^(−x²)
  Erf: unary((g, x) => g.mul(2 / Math.sqrt(Math.PI), g.exp(g.neg(g.square(x))))),

  // Differentiable between float types; a cast to or from integers has no gradient.
  Cast: {
    vjp: castBack,
    samples: [
      { inputs: [[2, 3]], attributes: { to: int(DataType.float) } },
      { inputs: [[]], attributes: { to: int(DataType.float) }, note: "scalar" },
      { inputs: [[0, 3]], attributes: { to: int(DataType.float) }, note: "empty" },
    ],
    linear: true,
  },
  CastLike: {
    vjp: castBack,
    samples: [{ inputs: [[2, 3], { shape: [1], constant: [0], type: "float" }] }],
    linear: true,
  },
} satisfies RuleTable;
