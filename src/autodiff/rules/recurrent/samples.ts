import { type Attribute, float, int, string } from "../../../graph/attribute.ts";
import type { Sample, SampleInput } from "../../rule.ts";

/** Steps, batch, features and units of the samples. */
const [T, N, I, H] = [4, 3, 2, 3];

interface Form {
  readonly directions?: number;
  readonly steps?: number;
  /** Lengths of the samples. */
  readonly lengths?: readonly number[];
  readonly bias?: SampleInput;
  /** Whether initial states are given. */
  readonly states?: boolean;
  readonly peepholes?: boolean;
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly opset?: number;
  readonly outputs?: number;
  readonly range?: readonly [number, number];
}

const strings = (...value: string[]): Attribute => ({ kind: "strings", value });
const floats = (...value: number[]): Attribute => ({ kind: "floats", value });

const sampleOf = (gates: number, note: string, form: Form): Sample => {
  const { directions: D = 1, steps = T, lengths, states = false, attributes, ...rest } = form;
  const cell = gates === 4;
  const state = states ? [D, N, H] : null;
  return {
    inputs: [
      [steps, N, I],
      [D, gates * H, I],
      [D, gates * H, H],
      form.bias === undefined ? [D, 2 * gates * H] : form.bias,
      lengths ? { shape: [N], constant: lengths, type: "int32" } : null,
      state,
      ...(cell ? [state, form.peepholes ? [D, 3 * H] : null] : []),
    ],
    attributes: {
      hidden_size: int(H),
      ...(D === 2 ? { direction: string("bidirectional") } : {}),
      ...attributes,
    },
    outputs: form.outputs ?? (cell ? 3 : 2),
    floatOnly: "ONNX Runtime computes recurrent operators in float alone",
    ...(rest.opset ? { opset: rest.opset } : {}),
    ...(rest.range ? { range: rest.range } : {}),
    note,
  };
};

const reverse = { direction: string("reverse") };

/** Samples that all three operators have. */
const common = (gates: number): [Sample, ...Sample[]] => [
  sampleOf(gates, "forward", {}),
  sampleOf(gates, "without bias", { bias: null, states: true }),
  sampleOf(gates, "opset 14, first output alone", { opset: 14, outputs: 1 }),
  sampleOf(gates, "opset 22", { opset: 22 }),
  sampleOf(gates, "initial states", { states: true }),
  sampleOf(gates, "one step", { steps: 1, states: true }),
  sampleOf(gates, "one step from zeros", { steps: 1 }),
  sampleOf(gates, "one step, reverse, of lengths 1 and 0", {
    steps: 1,
    states: true,
    lengths: [1, 0, 1],
    attributes: reverse,
  }),
  sampleOf(gates, "reverse", { states: true, attributes: reverse }),
  sampleOf(gates, "bidirectional", { directions: 2, states: true }),
  sampleOf(gates, "nine steps", { steps: 9 }),
  sampleOf(gates, "lengths", { lengths: [2, 4, 1], states: true }),
  sampleOf(gates, "lengths, reverse, from zeros", { lengths: [2, 4, 0], attributes: reverse }),
  sampleOf(gates, "lengths, bidirectional", { lengths: [3, 0, 4], directions: 2, states: true }),
];

/**
 * A form whose gate arguments stay near `values`, cycled over the units, for functions that are not smooth everywhere.
 */
const near = (gates: number, values: readonly number[], form: Form = {}): Form => ({
  range: [-0.2, 0.2],
  states: true,
  ...form,
  bias: {
    shape: [form.directions ?? 1, 2 * gates * H],
    constant: Array.from({ length: (form.directions ?? 1) * 2 * gates * H }, (_, i) =>
      i % (2 * gates * H) < gates * H ? (values[i % values.length] as number) : 0,
    ),
    type: "float",
  },
});

/** A clip of 1, which some arguments exceed. */
const clip = (gates: number, attributes: Form["attributes"] = {}): Form =>
  near(gates, [0.3, 2, -0.2, -3, 1.8], { attributes: { clip: float(1), ...attributes } });

/** Every activation, at arguments on both sides of its kink. */
const activations: readonly Sample[] = (
  [
    ["Relu", [2, -2]],
    ["Sigmoid", [0.5, -0.5]],
    ["Affine", [0.5, -0.5], 0.7, -0.4],
    ["Affine", [0.5, -0.5], 0.7],
    ["LeakyRelu", [2, -2]],
    ["LeakyRelu", [2, -2], 0.3],
    ["ThresholdedRelu", [3, -2]],
    ["ThresholdedRelu", [3, -2], 0.2],
    ["ScaledTanh", [0.5, -0.5], 1.7, 0.6],
    ["HardSigmoid", [1, 4]],
    ["HardSigmoid", [0.5, -3], 0.4, 0.6],
    ["Elu", [2, -2]],
    ["Elu", [2, -2], 0.5],
    ["Softsign", [2, -2]],
    ["Softplus", [0.5, -0.5]],
  ] as const
).map(([name, values, alpha, beta]) => {
  const attributes = {
    activations: strings(name),
    ...(alpha === undefined ? {} : { activation_alpha: floats(alpha) }),
    ...(beta === undefined ? {} : { activation_beta: floats(beta) }),
  };
  return sampleOf(1, "", near(1, values, { attributes }));
});

export const rnnSamples: [Sample, ...Sample[]] = [
  ...common(1),
  sampleOf(1, "clip", clip(1)),
  ...activations,
  sampleOf(1, "a function for each direction", {
    directions: 2,
    states: true,
    attributes: { activations: strings("Sigmoid", "Softplus") },
  }),
];

const linear = { linear_before_reset: int(1) };

export const gruSamples: [Sample, ...Sample[]] = [
  ...common(3),
  sampleOf(3, "linear", { states: true, attributes: linear }),
  sampleOf(3, "linear, without bias", { bias: null, attributes: linear }),
  sampleOf(3, "linear, one step", { steps: 1, states: true, attributes: linear }),
  sampleOf(3, "linear, lengths, bidirectional", {
    lengths: [3, 0, 4],
    directions: 2,
    states: true,
    attributes: linear,
  }),
  sampleOf(3, "clip", clip(3)),
  sampleOf(3, "linear, clip", clip(3, linear)),
  sampleOf(
    3,
    "hard sigmoid",
    near(3, [0.5, -0.5, 4], { attributes: { activations: strings("HardSigmoid", "Tanh") } }),
  ),
];

const coupled = { input_forget: int(1) };

export const lstmSamples: [Sample, ...Sample[]] = [
  ...common(4),
  sampleOf(4, "peepholes", { states: true, peepholes: true }),
  sampleOf(4, "peepholes, from zeros", { peepholes: true }),
  sampleOf(4, "peepholes, lengths, bidirectional", {
    lengths: [3, 0, 4],
    directions: 2,
    states: true,
    peepholes: true,
  }),
  sampleOf(4, "peepholes, lengths, reverse, from zeros", {
    lengths: [2, 4, 1],
    peepholes: true,
    attributes: reverse,
  }),
  sampleOf(4, "coupled gates", { states: true, attributes: coupled }),
  sampleOf(4, "coupled gates, peepholes", { states: true, peepholes: true, attributes: coupled }),
  sampleOf(4, "clip", clip(4)),
  sampleOf(4, "clip, peepholes, coupled gates", { ...clip(4, coupled), peepholes: true }),
  sampleOf(
    4,
    "coefficients go to the functions that have them",
    near(4, [0.5, -0.5, 3], {
      attributes: {
        activations: strings("HardSigmoid", "Tanh", "LeakyRelu"),
        activation_alpha: floats(0.3, 0.2),
        activation_beta: floats(0.4),
      },
    }),
  ),
  sampleOf(4, "functions for each direction", {
    directions: 2,
    states: true,
    peepholes: true,
    attributes: {
      activations: strings("Sigmoid", "Tanh", "Softsign", "Sigmoid", "ScaledTanh", "Tanh"),
      activation_alpha: floats(1.5),
      activation_beta: floats(0.5),
    },
  }),
];
