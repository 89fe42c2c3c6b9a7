import { float, int } from "../../graph/attribute.ts";
import { DataType, isFloat } from "../../onnx/data-types.ts";
import { broadcastSamples, unary, unaryFrom } from "../makers.ts";
import type { RuleTable, Sample } from "../rule.ts";

const positive: Sample = { inputs: [[2, 3]], range: [0.2, 3] };
/** Away from 0, where |x| and its relatives have a kink. */
const bothSides: Sample[] = [
  { inputs: [[2, 3]], range: [0.1, 1] },
  { inputs: [[2, 3]], range: [-1, -0.1] },
];
const withAttribute = (name: string, value: number): Sample[] => [
  ...bothSides,
  ...bothSides.map((sample) => ({ ...sample, attributes: { [name]: float(value) }, note: name })),
];
const noGradient = { constant: "its derivative is 0 wherever it exists" } as const;
const noFloats = { constant: "it makes no floating-point numbers" } as const;

export const elementwise = {
  Identity: { vjp: (_, dy) => [() => dy], samples: [{ inputs: [[2, 3]] }], linear: true },
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
  Asin: unaryFrom((g, dy, x) => g.div(dy, g.sqrt(g.sub(1, g.square(x)))), {
    inputs: [[2, 3]],
    range: [-0.8, 0.8],
  }),
  Acos: unaryFrom((g, dy, x) => g.neg(g.div(dy, g.sqrt(g.sub(1, g.square(x))))), {
    inputs: [[2, 3]],
    range: [-0.8, 0.8],
  }),
  // d erf x = 2/√π · e^(−x²)
  Erf: unary((g, x) => g.mul(2 / Math.sqrt(Math.PI), g.exp(g.neg(g.square(x))))),

  // Activations.
  Relu: unaryFrom((g, dy, _x, y) => g.mul(dy, g.indicator(g.greater(y, 0), dy.type)), ...bothSides),
  // d max(x, αx) = α where x < 0
  LeakyRelu: unaryFrom(
    (g, dy, x, _y, node) => g.where(g.less(x, 0), g.mul(dy, node.float("alpha", 0.01)), dy),
    ...withAttribute("alpha", 0.3),
  ),
  // x < 0: d α(eˣ − 1) = y + α
  Elu: unaryFrom(
    (g, dy, x, y, node) => g.where(g.less(x, 0), g.mul(dy, g.add(y, node.float("alpha", 1))), dy),
    ...withAttribute("alpha", 0.7),
  ),
  // γx, or γα(eˣ − 1) below 0, whose derivative is y + γα
  Selu: unaryFrom(
    (g, dy, x, y, node) => {
      const [alpha, gamma] = [
        node.float("alpha", 1.6732631921768188),
        node.float("gamma", 1.0507010221481323),
      ];
      return g.mul(dy, g.where(g.less(x, 0), g.add(y, gamma * alpha), g.filled(gamma, x.shape, x.type)));
    },
    ...withAttribute("alpha", 0.7),
  ),
  // α(e^(x/α) − 1) below 0: derivative y/α + 1
  Celu: unaryFrom(
    (g, dy, x, y, node) =>
      g.where(g.less(x, 0), g.mul(dy, g.add(g.mul(y, 1 / node.float("alpha", 1)), 1)), dy),
    ...withAttribute("alpha", 0.7),
  ),
  // d log(1 + eˣ) = σ(x)
  Softplus: unary((g, x) => g.sigmoid(x)),
  // d x/(1 + |x|) = 1/(1 + |x|)²
  Softsign: unaryFrom((g, dy, x) => g.mul(dy, g.square(g.reciprocal(g.add(1, g.abs(x))))), ...bothSides),
  // x where x > α, else 0
  ThresholdedRelu: unaryFrom(
    (g, dy, x, _y, node) => g.mul(dy, g.indicator(g.greater(x, node.float("alpha", 1)), dy.type)),
    {
      inputs: [[2, 3]],
      range: [1.1, 2],
    },
  ),
  // clamp(αx + β, 0, 1): α inside
  HardSigmoid: unaryFrom(
    (g, dy, _x, y, node) =>
      g.mul(g.mul(dy, node.float("alpha", 0.2)), g.indicator(g.and(g.greater(y, 0), g.less(y, 1)), dy.type)),
    { inputs: [[2, 3]] },
    { inputs: [[2, 3]], attributes: { alpha: float(0.4), beta: float(0.3) }, range: [-0.5, 0.5] },
    { inputs: [[2, 3]], range: [3, 4], note: "saturated" },
  ),
  // x·clamp(x/6 + 1/2, 0, 1): 1 above 3, 0 below −3, x/3 + 1/2 between
  HardSwish: unaryFrom(
    (g, dy, x) =>
      g.mul(
        dy,
        g.where(
          g.greater(x, 3),
          g.filled(1, x.shape, x.type),
          g.mul(g.indicator(g.greater(x, -3), x.type), g.add(g.mul(x, 1 / 3), 0.5)),
        ),
      ),
    { inputs: [[2, 3]], range: [-2, 2], floatOnly: "ONNX Runtime's float64 HardSwish uses a float32 1/6" },
    { inputs: [[2, 3]], range: [3.1, 4], note: "above" },
    { inputs: [[2, 3]], range: [-4, -3.1], note: "below" },
  ),
  // x·tanh(s), s = softplus(x): tanh s + x·σ(x)·(1 − tanh² s)
  Mish: unaryFrom((g, dy, x) => {
    const t = g.tanh(g.softplus(x));
    return g.mul(dy, g.add(t, g.mul(g.mul(x, g.sigmoid(x)), g.sub(1, g.square(t)))));
  }),
  // x·σ(αx): σ + αxσ(1 − σ)
  Swish: unaryFrom(
    (g, dy, x, y, node) => {
      const alpha = node.float("alpha", 1);
      const s = g.sigmoid(g.mul(x, alpha));
      return g.mul(dy, g.add(s, g.mul(g.mul(y, alpha), g.sub(1, s))));
    },
    { inputs: [[2, 3]], opset: 24 },
  ),
  // exact: Φ(x) + xφ(x);  tanh: with u = √(2/π)(x + 0.044715x³), (1 + tanh u)/2 + x(1 − tanh² u)·u′/2
  Gelu: unaryFrom(
    (g, dy, x, _y, node) => {
      if (node.string("approximate", "none") === "tanh") {
        const k = Math.sqrt(2 / Math.PI);
        const x2 = g.square(x);
        const t = g.tanh(g.mul(g.mul(x, k), g.add(1, g.mul(x2, 0.044715))));
        const du = g.add(k, g.mul(x2, 3 * 0.044715 * k));
        return g.mul(g.mul(dy, 0.5), g.add(g.add(1, t), g.mul(g.mul(x, du), g.sub(1, g.square(t)))));
      }
      const cdf = g.mul(0.5, g.add(1, g.erf(g.mul(x, Math.SQRT1_2))));
      const density = g.mul(1 / Math.sqrt(2 * Math.PI), g.exp(g.mul(g.square(x), -0.5)));
      return g.mul(dy, g.add(cdf, g.mul(x, density)));
    },
    { inputs: [[2, 3]], opset: 20 },
    { inputs: [[2, 3]], opset: 20, attributes: { approximate: { kind: "string", value: "tanh" } } },
  ),
  // y = x above 0, slope·x below
  PRelu: {
    vjp: (context, dy, g) => {
      const [x, slope] = [context.input(0), context.input(1)];
      const below = () => g.less(x, 0);
      return [
        () => g.where(below(), g.mul(dy, slope), dy),
        () => g.mul(g.mul(dy, x), g.indicator(below(), x.type)),
      ];
    },
    samples: [
      { inputs: [{ shape: [2, 3, 4], range: [0.1, 1] }, [3, 1]] },
      { inputs: [{ shape: [2, 3, 4], range: [-1, -0.1] }, [3, 1]] },
      { inputs: [{ shape: [2, 3], range: [-1, -0.1] }, [1]] },
    ],
  },

  // Arithmetic.
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
      {
        inputs: [
          [2, 3],
          [2, 3],
        ],
        range: [0.5, 2],
      },
      { inputs: [[2, 3], [3]], range: [0.5, 2] },
      { inputs: [[], [4]], range: [-2, -0.5] },
    ],
  },
  // d aᵇ = b·aᵇ⁻¹ da + y·log a db (the latter 0 where a ≤ 0, as PyTorch gives at a = 0)
  Pow: {
    vjp: (context, dy, g) => {
      const [a, b] = [context.input(0), context.input(1)];
      const exponent = b.initializer?.size === 1 ? b.initializer.numbers()[0] : undefined;
      const base = () => {
        if (exponent === 2) return g.mul(g.mul(dy, 2), a);
        if (exponent === 1) return dy;
        if (exponent === 3) return g.mul(g.mul(dy, 3), g.square(a));
        if (exponent === 0.5) return g.div(g.mul(dy, 0.5), context.output(0));
        const power = g.cast(b, a.type);
        return g.mul(g.mul(dy, power), g.pow(a, g.sub(power, 1)));
      };
      return [
        base,
        isFloat(b.type)
          ? () => {
              const one = g.filled(1, a.shape, a.type);
              const log = g.log(g.where(g.greater(a, 0), a, one));
              return g.cast(g.mul(g.mul(dy, context.output(0)), log), b.type);
            }
          : null,
      ];
    },
    samples: [
      {
        inputs: [
          { shape: [2, 3], range: [0.5, 2] },
          { shape: [2, 3], range: [-2, 2] },
        ],
      },
      {
        inputs: [
          { shape: [2, 3], range: [0.5, 2] },
          { shape: [], constant: [2], type: "float" },
        ],
        note: "square",
      },
      {
        inputs: [
          { shape: [2, 3], range: [-2, -0.5] },
          { shape: [], constant: [3], type: "float" },
        ],
        note: "cube",
      },
      {
        inputs: [
          { shape: [2, 3], range: [0.5, 2] },
          { shape: [], constant: [0.5], type: "float" },
        ],
        note: "root",
      },
      {
        inputs: [
          { shape: [2, 3], range: [-2, -0.5] },
          { shape: [], constant: [4], type: "float" },
        ],
        note: "fourth",
      },
    ],
  },
  // Ties: each side gets half, as PyTorch.
  Max: extremum("greater"),
  Min: extremum("less"),
  Sum: {
    vjp: ({ inputs }, dy) => inputs.map(() => () => dy),
    samples: [{ inputs: [[2, 3], [3], []] }, { inputs: [[2]] }],
    linear: true,
  },
  Mean: {
    vjp: ({ inputs }, dy, g) => inputs.map(() => () => g.mul(dy, 1 / inputs.length)),
    samples: [{ inputs: [[2, 3], [3], []] }],
    linear: true,
  },
  // 1 inside the bounds (the bounds themselves included), 0 outside
  Clip: {
    vjp: (context, dy, g) => [
      () => {
        const x = context.input(0);
        const [low, high] = [context.inputs[1], context.inputs[2]];
        const inside = [
          ...(low ? [g.greaterOrEqual(x, low)] : []),
          ...(high ? [g.lessOrEqual(x, high)] : []),
        ];
        return inside.reduce((gradient, condition) => g.mul(gradient, g.indicator(condition, dy.type)), dy);
      },
      null,
      null,
    ],
    samples: [
      {
        inputs: [
          { shape: [4, 5], distinct: true },
          { shape: [], constant: [-0.5], type: "float" },
          { shape: [], constant: [0.5], type: "float" },
        ],
        range: [-1.02, 1.02],
      },
      {
        inputs: [
          { shape: [4], range: [0.2, 1] },
          { shape: [], constant: [0.1], type: "float" },
        ],
      },
      { inputs: [[4], null, { shape: [], constant: [2], type: "float" }] },
    ],
  },
  Where: {
    vjp: (context, dy, g) => {
      const zero = () => g.scalar(0, dy.type);
      return [null, () => g.where(context.input(0), dy, zero()), () => g.where(context.input(0), zero(), dy)];
    },
    samples: [
      { inputs: [{ shape: [2, 3], constant: [1, 0, 1, 0, 0, 1], type: "bool" }, [2, 3], [2, 3]] },
      { inputs: [{ shape: [3], constant: [1, 0, 1], type: "bool" }, [2, 3], []] },
    ],
    linear: true,
  },
  Cast: {
    vjp: (context, dy, g) => [
      isFloat(context.input(0).type) ? () => g.cast(dy, context.input(0).type) : null,
    ],
    samples: [{ inputs: [[2, 3]], attributes: { to: int(DataType.float) } }],
    linear: true,
  },
  CastLike: {
    vjp: (context, dy, g) => [
      isFloat(context.input(0).type) ? () => g.cast(dy, context.input(0).type) : null,
      null,
    ],
    samples: [{ inputs: [[2, 3], { shape: [1], constant: [0], type: "float" }] }],
    linear: true,
  },

  Sign: noGradient,
  Floor: noGradient,
  Ceil: noGradient,
  Round: noGradient,
  Equal: noFloats,
  Greater: noFloats,
  GreaterOrEqual: noFloats,
  Less: noFloats,
  LessOrEqual: noFloats,
  Not: noFloats,
  And: noFloats,
  Or: noFloats,
  Xor: noFloats,
  IsNaN: noFloats,
  IsInf: noFloats,
} satisfies RuleTable;

/** Max or Min of any number of operands; at a tie every operand that attains it gets an equal share. */
function extremum(side: "greater" | "less"): RuleTable[string] & { vjp: unknown } {
  const tieFree = (shape: number[]) => ({ shape, distinct: true });
  return {
    vjp: (context, dy, g) => {
      const y = context.output(0);
      const attains = (index: number) => g.indicator(g.equal(context.input(index), y), dy.type);
      if (context.inputs.length === 1) return [() => dy];
      if (context.inputs.length === 2) {
        // 1 where this operand wins, ½ at a tie
        const [a, b] = [context.input(0), context.input(1)];
        const share = (x: typeof a, other: typeof a) => {
          const wins = side === "greater" ? g.greater(x, other) : g.less(x, other);
          return g.mul(g.mul(dy, 0.5), g.add(g.indicator(wins, dy.type), attains(x === a ? 0 : 1)));
        };
        return [() => share(a, b), () => share(b, a)];
      }
      const count = () => context.inputs.map((_, index) => attains(index)).reduce((a, b) => g.add(a, b));
      return context.inputs.map((_, index) => () => g.mul(dy, g.div(attains(index), count())));
    },
    samples: [
      { inputs: [tieFree([2, 3]), tieFree([2, 3])] },
      { inputs: [tieFree([2, 3]), { shape: [], constant: [0.05], type: "float" }], note: "floor" },
      { inputs: [tieFree([2, 2]), tieFree([2]), tieFree([1])], note: "three" },
      { inputs: [tieFree([2, 3])], note: "one" },
    ],
  };
}
