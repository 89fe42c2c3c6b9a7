import { SorthError } from "../../errors.ts";
import { type Attribute, float, int, string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Node } from "../../graph/node.ts";
import { allAxes, dimAt } from "../../graph/shapes.ts";
import { tableOf } from "../../lookup.ts";
import { isHalf } from "../../onnx/data-types.ts";
import type { Rule, RuleTable, Sample } from "../rule.ts";
import { convolution } from "./convolution.ts";
import { geluGradient, sigmoidGeluGradient, tanhGeluGradient } from "./gelu.ts";
import { linearAlgebra } from "./linear-algebra.ts";

/** Parameters of a fused activation, in the order of the operator's own attributes. */
type Parameters = readonly number[];

/**
 * Derivatives of activations times dy, computed from the result y alone, because a fused operator does not output the
 * activation's input. All of these activations are monotonic where they are not constant.
 */
const fromResult: Readonly<Record<string, (g: Emit, dy: Typed, y: Typed, parameters: Parameters) => Typed>> =
  tableOf({
    Relu: (g, dy, y) => g.mul(dy, g.indicator(g.greater(y, 0), dy.type)),
    LeakyRelu: (g, dy, y, [alpha = 0.01]) => g.where(g.greater(y, 0), dy, g.mul(dy, alpha)),
    Tanh: (g, dy, y) => g.sub(dy, g.mul(dy, g.square(y))),
    Sigmoid: (g, dy, y) => g.mul(g.mul(dy, y), g.sub(1, y)),
    Clip: (g, dy, y, [low = -Infinity, high = Infinity]) => {
      // A clipped half result may be the bound itself or the half number next to it.
      const margin = isHalf(y.type) ? 2 ** -10 : 0;
      const inwards = (bound: number, sign: 1 | -1) =>
        Number.isFinite(bound) ? bound + sign * Math.abs(bound) * margin : bound;
      const [above, below] = [inwards(low, 1), inwards(high, -1)];
      return g.mul(dy, g.indicator(g.and(g.greater(y, above), g.less(y, below)), dy.type));
    },
    HardSigmoid: (g, dy, y, [alpha = 0.2]) =>
      g.mul(g.mul(dy, alpha), g.indicator(g.and(g.greater(y, 0), g.less(y, 1)), dy.type)),
    Elu: (g, dy, y, [alpha = 1]) => g.where(g.greater(y, 0), dy, g.mul(dy, g.add(y, alpha))),
    Selu: (g, dy, y, [alpha = 1.6732631921768188, , gamma = 1.0507010221481323]) =>
      g.mul(dy, g.where(g.greater(y, 0), gamma, g.add(y, gamma * alpha))),
    // σ(x) = 1 − e^(−y)
    Softplus: (g, dy, y) => g.mul(dy, g.sub(1, g.exp(g.neg(y)))),
    // 1/(1 + |x|) = 1 − |y|
    Softsign: (g, dy, y) => g.mul(dy, g.square(g.sub(1, g.abs(y)))),
    ThresholdedRelu: (g, dy, y) => g.mul(dy, g.indicator(g.not(g.equal(y, 0)), dy.type)),
  });

/** Gradient of the activation's input in a fused operator. */
function beforeActivation(g: Emit, node: Node, dy: Typed, y: Typed, parameters: Parameters): Typed {
  const name = node.string("activation", "");
  if (!name) return dy;
  const derivative = fromResult[name];
  if (!derivative || (name === "LeakyRelu" && (parameters[0] ?? 0) < 0)) {
    throw new SorthError(
      `cannot differentiate ${node.op} (node "${node.label}"): its activation ${name} cannot be inverted; ` +
        "export the model without graph optimizations",
    );
  }
  return derivative(g, dy, y, parameters);
}

/** Activation parameters that are attributes of their own (`activation_alpha`, …). */
function gemmParameters(node: Node): Parameters {
  const names = ["activation_alpha", "activation_beta", "activation_gamma"];
  return names.map((name) => (node.attributes.has(name) ? node.float(name, 0) : undefined)) as number[];
}

function convolutionParameters(node: Node): Parameters {
  const attribute = node.attributes.get("activation_params");
  return attribute?.kind === "floats" ? attribute.value : [];
}

/** The rule of a matrix product A′B′, whose operands the attributes transpose first. */
function product(): Rule {
  return {
    vjp: (context, dy, g) => {
      const { node } = context;
      const [a, b] = [context.input(0), context.input(1)];
      const orders = [a, b].map((x, i) => order(node, x.shape.length, i === 0 ? "A" : "B"));
      const [left, right] = [a, b].map((x, i) => {
        const turned = g.transpose(x, orders[i] ?? []);
        if (x.shape.length > 1) return turned;
        return g.reshape(x, i === 0 ? [1, ...x.shape] : [...x.shape, 1]);
      }) as [Typed, Typed];
      const lead = dy.shape.slice(0, dy.shape.length - [a, b].filter((x) => x.shape.length > 1).length);
      const alpha = node.float("alpha", 1);
      const full = () => {
        const matrices = g.reshape(dy, [...lead, dimAt(left.shape, -2), dimAt(right.shape, -1)]);
        return alpha === 1 ? matrices : g.mul(matrices, alpha);
      };
      const back = (gradient: Typed, operand: Typed, x: Typed, permutation: readonly number[]) => {
        const summed = g.sumTo(gradient, operand.shape);
        if (x.shape.length === 1) return g.reshape(summed, x.shape);
        return g.transpose(
          summed,
          permutation.map((_, axis) => permutation.indexOf(axis)),
        );
      };
      return [
        () => back(g.matMul(full(), g.transposeLast(right)), left, a, orders[0] ?? []),
        () => back(g.matMul(g.transposeLast(left), full()), right, b, orders[1] ?? []),
      ];
    },
    samples: productSamples,
    linear: true,
  };
}

/** The axes of an operand in the order in which the product reads them; transBatch makes axis 0 the last batch axis. */
function order(node: Node, rank: number, operand: "A" | "B"): number[] {
  const axes = allAxes(rank);
  if (rank < 2) return axes;
  if (node.flag(`transBatch${operand}`)) axes.splice(rank - 2, 0, axes.shift() as number);
  if (node.flag(`trans${operand}`)) axes.push(axes.splice(rank - 2, 1)[0] as number);
  return axes;
}

const flags = (...names: readonly string[]): Record<string, Attribute> =>
  Object.fromEntries(names.map((name) => [name, int(1)]));
const productSamples: [Sample, ...Sample[]] = [
  {
    inputs: [
      [2, 3],
      [3, 4],
    ],
  },
  {
    inputs: [
      [5, 3, 2],
      [4, 3],
    ],
    attributes: { ...flags("transA", "transB"), alpha: float(0.5) },
  },
  {
    inputs: [
      [2, 3],
      [6, 5, 4, 3],
    ],
    attributes: { ...flags("transB"), alpha: float(2) },
    note: "matrix by batch",
  },
  {
    inputs: [[3], [5, 3, 4]],
    note: "vector by batch",
  },
  { inputs: [[5, 2, 3], [3]], attributes: { alpha: float(0.25) }, note: "batch by vector" },
  { inputs: [[3], [3]], note: "vectors" },
];
const gemmActivations: Record<string, Record<string, Attribute>> = {
  Relu: {},
  LeakyRelu: { activation_alpha: float(0.3) },
  Tanh: {},
  Sigmoid: {},
  HardSigmoid: { activation_alpha: float(0.2), activation_beta: float(0.5) },
  Elu: { activation_alpha: float(0.7) },
  Selu: { activation_alpha: float(1.5), activation_gamma: float(1.1) },
  Softplus: {},
  Softsign: {},
  ThresholdedRelu: { activation_alpha: float(0.1) },
};
/** A sample whose values before the activation are above 0.5 or below −0.5. */
const signed = (sign: number, activation: string, more: Record<string, Attribute>): Sample => ({
  inputs: [
    { shape: [2, 3], range: [0.4, 0.6] },
    { shape: [3, 4], range: sign > 0 ? [0.4, 0.6] : [-0.6, -0.4] },
    { shape: [4], range: [0, 0.1] },
  ],
  attributes: { activation: string(activation), ...more },
  note: sign > 0 ? "above 0" : "below 0",
});
const params = (...value: number[]): Attribute => ({ kind: "floats", value });
const filtered = (sign: number, activation: string, ...parameters: number[]): Sample => ({
  inputs: [
    { shape: [2, 2, 3, 3], range: [0.4, 0.6] },
    { shape: [2, 2, 2, 2], range: sign > 0 ? [0.1, 0.2] : [-0.2, -0.1] },
    { shape: [2], range: [0, 0.02] },
  ],
  attributes: {
    activation: string(activation),
    kernel_shape: { kind: "ints", value: [2, 2] },
    activation_params: params(...parameters),
  },
  note: sign > 0 ? "above 0" : "below 0",
});

/** ONNX Runtime has no float64 kernel for FastGelu: it expands it into other operators. */
const float32Constants = "ONNX Runtime expands a float64 FastGelu with constants rounded to float32";

export const fusedOperators = {
  "com.microsoft.Gelu": {
    vjp: (context, dy, g) => [() => geluGradient(g, dy, context.input(0))],
    samples: [
      { inputs: [[2, 3]], range: [-2, 2] },
      { inputs: [[0, 3]], note: "empty" },
    ],
  },
  // Gelu of A + B
  "com.microsoft.BiasGelu": {
    vjp: (context, dy, g) => {
      const gradient = () =>
        g.once(`BiasGelu of ${dy.name}`, () =>
          geluGradient(g, dy, g.add(context.input(0), context.input(1))),
        );
      return [gradient, gradient];
    },
    samples: [{ inputs: [[2, 3], [3]] }],
  },
  // The tanh form of X, or of X + bias
  "com.microsoft.FastGelu": {
    vjp: (context, dy, g) => {
      const bias = context.inputs[1];
      const gradient = () =>
        g.once(`FastGelu of ${dy.name}`, () =>
          tanhGeluGradient(g, dy, bias ? g.add(context.input(0), bias) : context.input(0)),
        );
      return [gradient, gradient];
    },
    samples: [
      { inputs: [[2, 3]], range: [-2, 2], floatOnly: float32Constants },
      { inputs: [[2, 4, 3], [3]], floatOnly: float32Constants },
    ],
  },
  // x·σ(αx)
  "com.microsoft.QuickGelu": {
    vjp: (context, dy, g) => [
      () =>
        sigmoidGeluGradient(g, dy, context.input(0), context.output(0), context.node.float("alpha", 1.702)),
    ],
    samples: [
      { inputs: [[2, 3]] },
      {
        inputs: [[2, 3]],
        attributes: { alpha: float(0.5) },
      },
    ],
  },

  // y = α·A′B′
  "com.microsoft.FusedMatMul": {
    ...product(),
    samples: [
      ...productSamples,
      {
        inputs: [
          [2, 4, 3],
          [4, 3, 5],
        ],
        attributes: flags("transBatchA"),
      },
      {
        inputs: [
          [3, 4, 6, 2],
          [5, 4, 6, 3],
        ],
        attributes: flags("transBatchA", "transA", "transBatchB", "transB"),
      },
    ],
  },
  "com.microsoft.TransposeMatMul": product(),

  // y = f(α·A′B′ + βC)
  "com.microsoft.FusedGemm": {
    vjp: (context, dy, g) =>
      linearAlgebra.Gemm.vjp(
        context,
        beforeActivation(g, context.node, dy, context.output(0), gemmParameters(context.node)),
        g,
      ),
    samples: [
      {
        inputs: [
          [3, 2],
          [4, 3],
        ],
        attributes: { ...flags("transA", "transB"), alpha: float(0.5), activation: string("Tanh") },
      },
      ...Object.entries(gemmActivations).flatMap(([name, more]) =>
        [1, -1].map((sign) => signed(sign, name, more)),
      ),
    ],
  },

  // y = f(conv(X, W) + B + Z)
  "com.microsoft.FusedConv": {
    vjp: (context, dy, g) => {
      const { node } = context;
      const d = beforeActivation(g, node, dy, context.output(0), convolutionParameters(node));
      return [...convolution.Conv.vjp(context, d, g).slice(0, 3), () => d];
    },
    samples: [
      filtered(1, "Relu"),
      filtered(-1, "Relu"),
      filtered(-1, "LeakyRelu", 0.3),
      filtered(1, "Tanh"),
      filtered(-1, "Sigmoid"),
      filtered(1, "HardSigmoid", 0.3, 0.2),
      filtered(1, "Clip", 0, 6),
      filtered(1, "Clip", 0, 0.01),
      {
        inputs: [
          { shape: [1, 2, 3, 3], range: [0.2, 0.6] },
          { shape: [2, 2, 1, 1], range: [0.2, 0.6] },
          null,
          { shape: [1, 2, 3, 3], range: [0.1, 0.5] },
        ],
        attributes: { activation: string("Relu") },
        note: "with a sum",
      },
    ],
  },
} satisfies RuleTable;
