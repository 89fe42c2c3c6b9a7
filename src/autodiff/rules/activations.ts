import { float } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { lazy } from "../lazy.ts";
import { bothSides, unary, unaryFrom } from "../makers.ts";
import type { RuleTable, Sample } from "../rule.ts";
import { geluGradient, sigmoidGeluGradient, tanhGeluGradient } from "./gelu.ts";

const withAttribute = (name: string, value: number): Sample[] => [
  ...bothSides,
  ...bothSides.map((sample) => ({ ...sample, attributes: { [name]: float(value) }, note: name })),
];

const inFloat = "ONNX Runtime computes it in float32";

/** 1 where x > 0, and `other` elsewhere. */
function oneAbove(g: Emit, x: Typed, other: number): Typed {
  if (other === 1) return g.scalar(1, x.type);
  if (other >= 0 && other < 1) return g.max(g.positive(x), other);
  return g.add(g.mul(g.positive(x), 1 - other), other);
}

const belowZero = (g: Emit, y: Typed): Typed => g.min(y, 0);

/** Activations. At a kink each rule takes the one-sided derivative that PyTorch takes (test/autodiff/conventions.test.ts). */
export const activations = {
  Relu: unaryFrom((g, dy, _x, y) => g.mul(dy, g.positive(y)), ...bothSides),
  // α for x ≤ 0 (as in PyTorch, also at 0)
  LeakyRelu: unaryFrom(
    (g, dy, x, _y, node) => g.mul(dy, oneAbove(g, x, node.float("alpha", 0.01))),
    ...withAttribute("alpha", 0.3),
  ),
  // x ≤ 0: d α(eˣ − 1) = y + α
  Elu: unaryFrom(
    (g, dy, x, y, node) => g.mul(dy, g.add(belowZero(g, y), oneAbove(g, x, node.float("alpha", 1)))),
    ...withAttribute("alpha", 0.7),
  ),
  // γx, or γα(eˣ − 1) below 0, whose derivative is y + γα
  Selu: unaryFrom(
    (g, dy, x, y, node) => {
      const [alpha, gamma] = [
        node.float("alpha", 1.6732631921768188),
        node.float("gamma", 1.0507010221481323),
      ];
      return g.mul(dy, g.add(belowZero(g, y), g.mul(oneAbove(g, x, alpha), gamma)));
    },
    ...withAttribute("alpha", 0.7),
  ),
  // α(e^(x/α) − 1) below 0: derivative y/α + 1
  Celu: unaryFrom(
    (g, dy, _x, y, node) => g.mul(dy, g.add(g.mul(belowZero(g, y), 1 / node.float("alpha", 1)), 1)),
    ...withAttribute("alpha", 0.7),
  ),
  // d log(1 + eˣ) = σ(x)
  Softplus: unary((g, x) => g.sigmoid(x)),
  // d x/(1 + |x|) = 1/(1 + |x|)²
  Softsign: unaryFrom((g, dy, x) => g.mul(dy, g.square(g.reciprocal(g.add(1, g.abs(x))))), ...bothSides),
  // x + bias below −λ, x − bias above λ, else 0
  Shrink: unaryFrom(
    (g, dy, x, _y, node) => g.mul(dy, g.indicator(g.greater(g.abs(x), node.float("lambd", 0.5)), dy.type)),
    { inputs: [[2, 3]], range: [0.6, 1.5], floatOnly: inFloat },
    {
      inputs: [[2, 3]],
      range: [-3, -1.1],
      attributes: { lambd: float(1), bias: float(0.7) },
      note: "soft, below",
      floatOnly: inFloat,
    },
    { inputs: [[2, 3]], range: [-0.4, 0.4], note: "inside" },
  ),
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
      g.mul(g.mul(dy, g.indicator(g.and(g.greater(y, 0), g.less(y, 1)), dy.type)), node.float("alpha", 0.2)),
    { inputs: [[2, 3]] },
    { inputs: [[2, 3]], attributes: { alpha: float(0.4), beta: float(0.3) }, range: [-0.5, 0.5] },
    { inputs: [[2, 3]], range: [3, 4], note: "saturated" },
    { inputs: [[2, 3]], attributes: { alpha: float(3e38), beta: float(0) }, range: [0.1, 1], note: "step" },
  ),
  // x·clamp(x/6 + 1/2, 0, 1): 1 from 3 on, 0 down from −3, x/3 + 1/2 between
  HardSwish: unaryFrom(
    (g, dy, x) =>
      g.mul(
        dy,
        g.where(
          g.greaterOrEqual(x, 3),
          1,
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
  // x·σ(αx)
  Swish: unaryFrom((g, dy, x, y, node) => sigmoidGeluGradient(g, dy, x, y, node.float("alpha", 1)), {
    inputs: [[2, 3]],
    opset: 24,
  }),
  Gelu: unaryFrom(
    (g, dy, x, _y, node) =>
      node.string("approximate", "none") === "tanh" ? tanhGeluGradient(g, dy, x) : geluGradient(g, dy, x),
    { inputs: [[2, 3]], opset: 20 },
    { inputs: [[2, 3]], opset: 20, attributes: { approximate: { kind: "string", value: "tanh" } } },
  ),
  // y = x above 0, slope·x elsewhere
  PRelu: {
    vjp: (context, dy, g) => {
      const [x, slope] = [context.input(0), context.input(1)];
      const above = lazy(() => g.mul(dy, g.positive(x)));
      const below = lazy(() => g.sub(dy, above()));
      return [() => g.add(above(), g.mul(below(), slope)), () => g.mul(below(), x)];
    },
    samples: [
      { inputs: [{ shape: [2, 3, 4], range: [0.1, 1] }, [3, 1]] },
      { inputs: [{ shape: [2, 3, 4], range: [-1, -0.1] }, [3, 1]] },
      { inputs: [{ shape: [2, 3], range: [-1, -0.1] }, [1]], note: "one slope" },
      { inputs: [{ shape: [2, 3], range: [-1, -0.1] }, []], note: "scalar slope" },
      { inputs: [{ shape: [2, 3], range: [-1, -0.1] }, [2, 3]], note: "a slope each" },
      { inputs: [{ shape: [2, 3], range: [-1, -0.1] }, [2, 1]], note: "a slope per row" },
      { inputs: [{ shape: [0, 3], range: [-1, -0.1] }, [3]], note: "empty" },
    ],
  },
} satisfies RuleTable;
