import { float, int, ints } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Node } from "../../graph/node.ts";
import { allAxes, dimAt, normalizeAxis } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { Rule, RuleContext, RuleTable, Sample } from "../rule.ts";
import {
  meanGradient,
  type Normalized,
  reciprocalGradient,
  savedStatistic,
  standardize,
  standardizedGradient,
} from "./standardize.ts";

const channelAxes = (x: Typed) => allAxes(x.shape.length).filter((axis) => axis !== 1);
const spatialAxes = (x: Typed) => allAxes(x.shape.length).slice(2);

/** [C] → [C, 1, …], which broadcasts over x: [N, C, …]. */
const column = (g: Emit, values: Typed, x: Typed) =>
  g.reshape(values, [dimAt(values.shape, 0), ...spatialAxes(x).map(() => 1)]);

const epsilonOf = ({ node }: RuleContext) => node.float("epsilon", 1e-5);

/** The normalized input of a node that normalizes over all axes from its attribute `axis` on. */
function trailing(context: RuleContext): Normalized {
  const x = context.input(0);
  const start = normalizeAxis(context.node.int("axis", -1), x.shape.length);
  return { x, axes: allAxes(x.shape.length).slice(start), epsilon: epsilonOf(context) };
}

/**
 * The gradients of y = x̂·scale + bias, where scale and bias broadcast to x's shape. Further thunks add the contributions
 * of other outputs (Mean, InvStdDev).
 */
function scaled(
  context: RuleContext,
  dy: Typed,
  g: Emit,
  normalized: () => Normalized,
  more: readonly (() => Typed)[] = [],
) {
  const through = () => standardizedGradient(g, g.mul(dy, context.input(1)), normalized());
  return [
    () =>
      [...(context.gradient(0) ? [through] : []), ...more]
        .map((thunk) => thunk())
        .reduce((a, b) => g.add(a, b)),
    () => g.mul(dy, standardize(g, normalized()).unit),
    () => dy,
  ];
}

/** Root mean square normalization over the trailing axes: y = x·r·scale. */
function rootMeanSquare(saved: boolean): Rule["vjp"] {
  return (context, dy, g) => {
    const plain = { ...trailing(context), centred: false };
    const normalized = () =>
      saved ? { ...plain, reciprocal: savedStatistic(g, context.node, 1, plain) } : plain;
    const dR = context.gradient(1);
    const more = dR ? [() => reciprocalGradient(g, dR, normalized())] : [];
    return scaled(context, dy, g, normalized, more).slice(0, 2);
  };
}

const layerSamples: [Sample, ...Sample[]] = [
  { inputs: [[2, 3, 4], [4], [4]] },
  {
    inputs: [
      [2, 3, 4],
      [3, 4],
    ],
    attributes: { axis: int(1), epsilon: float(0.1) },
    note: "no bias",
  },
  { inputs: [[5], [5], [5]], note: "1-D" },
  {
    inputs: [
      [2, 1, 3, 2, 2],
      [3, 2, 2],
      [3, 2, 2],
    ],
    attributes: { axis: int(2) },
    note: "5-D",
  },
  {
    inputs: [
      [3, 4],
      [3, 4],
      [3, 4],
    ],
    attributes: { axis: int(0) },
    note: "all axes",
  },
  { inputs: [[2, 3, 4], [4], [4]], outputs: 2, note: "Mean" },
  { inputs: [[2, 3, 4], [4], [4]], outputs: 3, attributes: { epsilon: float(0.1) }, note: "InvStdDev" },
  { inputs: [{ shape: [2, 16], range: [99, 101] }, [16], [16]], note: "mean beyond the deviation" },
  { inputs: [[0, 3, 4], [4], [4]], note: "empty batch" },
];
const rootMeanSquareSamples: [Sample, ...Sample[]] = [
  { inputs: [[2, 3, 4], [4]], opset: 23 },
  {
    inputs: [
      [2, 3, 4],
      [3, 4],
    ],
    attributes: { axis: int(1), epsilon: float(0.1) },
    opset: 23,
  },
  { inputs: [[5], [5]], opset: 23, note: "1-D" },
  { inputs: [[2, 1, 2, 2, 3], [3]], attributes: { axis: int(-1) }, opset: 23, note: "5-D" },
];

export const normalization = {
  // x̂ over the axes from `axis` on; y = x̂·scale + bias
  LayerNormalization: {
    vjp: (context, dy, g) => {
      const plain = trailing(context);
      const { node } = context;
      const normalized = () => ({
        ...plain,
        mean: savedStatistic(g, node, 1, plain),
        reciprocal: savedStatistic(g, node, 2, plain),
      });
      const [dMean, dR] = [context.gradient(1), context.gradient(2)];
      return scaled(context, dy, g, normalized, [
        ...(dMean ? [() => meanGradient(g, dMean, plain)] : []),
        ...(dR ? [() => reciprocalGradient(g, dR, normalized())] : []),
      ]);
    },
    samples: layerSamples,
  },

  RMSNormalization: { vjp: rootMeanSquare(false), samples: rootMeanSquareSamples },

  // An operator of ONNX Runtime in the standard domain, the predecessor of RMSNormalization
  SimplifiedLayerNormalization: {
    vjp: rootMeanSquare(true),
    samples: [
      ...rootMeanSquareSamples,
      { inputs: [[2, 3, 4], [4]], outputs: 2, note: "inv_std_var" },
      { inputs: [[0, 3, 4], [4]], note: "empty batch" },
    ],
  },

  // x̂ over the spatial axes, for each sample and channel
  InstanceNormalization: {
    vjp: (context, dy, g) => {
      const [x, scale] = [context.input(0), context.input(1)];
      const normalized = { x, axes: spatialAxes(x), epsilon: epsilonOf(context) };
      return [
        () => standardizedGradient(g, g.mul(dy, column(g, scale, x)), normalized),
        () => g.reduceSum(g.mul(dy, standardize(g, normalized).unit), channelAxes(x)),
        () => g.reduceSum(dy, channelAxes(x)),
      ];
    },
    samples: [
      { inputs: [[2, 3, 4, 2], [3], [3]] },
      { inputs: [[2, 3, 5], [3], [3]], attributes: { epsilon: float(0.1) }, note: "1-D" },
      { inputs: [[2, 3, 2, 2, 2], [3], [3]], note: "3-D" },
      { inputs: [[0, 3, 4], [3], [3]], note: "empty batch" },
    ],
  },

  // x̂ over each group of channels and space, per sample; scale and bias per channel (opset 21) or per group (18)
  GroupNormalization: {
    vjp: (context, dy, g) => {
      const [x, scale] = [context.input(0), context.input(1)];
      const [batch, channels] = x.shape as [number, number];
      const groups = context.node.int("num_groups", 1);
      const grouped = [batch, groups, elementCount(x.shape.slice(1)) / groups];
      const inGroups = g.once(`${x.name} in ${groups} groups`, () => g.reshape(x, grouped));
      const normalized = { x: inGroups, axes: [2], epsilon: epsilonOf(context) };
      const perGroup = dimAt(scale.shape, 0) !== channels;
      const spread = (values: Typed) =>
        perGroup
          ? g.reshape(g.expand(g.reshape(values, [groups, 1]), [groups, channels / groups]), [channels])
          : values;
      const gather = (values: Typed) =>
        perGroup ? g.reduceSum(g.reshape(values, [groups, channels / groups]), [1]) : values;
      return [
        () => {
          const scaledUp = g.reshape(g.mul(dy, column(g, spread(scale), x)), grouped);
          return g.reshape(standardizedGradient(g, scaledUp, normalized), x.shape);
        },
        () => {
          const unit = g.reshape(standardize(g, normalized).unit, x.shape);
          return gather(g.reduceSum(g.mul(dy, unit), channelAxes(x)));
        },
        () => gather(g.reduceSum(dy, channelAxes(x))),
      ];
    },
    samples: [
      {
        inputs: [[2, 4, 3, 2], [4], [4]],
        attributes: { num_groups: int(2) },
        opset: 21,
        floatOnly: "it computes in float32 (stash_type)",
        note: "per channel",
      },
      {
        inputs: [[2, 4, 3], [2], [2]],
        attributes: { num_groups: int(2), epsilon: float(0.1) },
        note: "per group",
      },
      { inputs: [[2, 4, 3], [1], [1]], attributes: { num_groups: int(1) }, note: "one group" },
      { inputs: [[2, 4, 3, 2], [4], [4]], attributes: { num_groups: int(4) }, note: "a group a channel" },
    ],
  },

  // y = c/(s + 1e-9) with c = x − mean and the deviation s: dx = (d − mean d)/(s + 1e-9) − y·mean(d·y)/s, where the second
  // term is 0 at s = 0. There ONNX Runtime's kernel, which omits the 1e-9, returns NaN for y
  MeanVarianceNormalization: {
    vjp: (context, dy, g) => [
      () => {
        const x = context.input(0);
        const axes = (context.node.ints("axes") ?? [0, 2, 3]).map((axis) =>
          normalizeAxis(axis, x.shape.length),
        );
        const centred = g.sub(x, g.reduceMean(x, axes, true));
        const deviation = g.sqrt(g.reduceMean(g.square(centred), axes, true));
        const inverse = g.reciprocal(g.add(deviation, 1e-9));
        const y = g.mul(centred, inverse);
        const zero = g.equal(deviation, 0);
        const slope = g.div(g.reduceMean(g.mul(dy, y), axes, true), g.where(zero, 1, deviation));
        const across = g.mul(g.sub(dy, g.reduceMean(dy, axes, true)), inverse);
        return g.sub(across, g.mul(y, g.where(zero, 0, slope)));
      },
    ],
    samples: [
      { inputs: [[2, 3, 2, 4]] },
      { inputs: [[3, 5]], attributes: { axes: ints([1]) } },
      { inputs: [[2, 3, 4]], attributes: { axes: ints([0, -1]) } },
      { inputs: [[2, 3, 2, 2]], attributes: { axes: ints([0, 1, 2, 3]) }, note: "all axes" },
    ],
  },

  // y = x/n: dx = (dy − ∂n/∂x · Σ dy·y)/n with n = √Σx² (∂n/∂x = y) or n = Σ|x| (∂n/∂x = sign x); dx = 0 where n = 0
  LpNormalization: {
    vjp: (context, dy, g) => [
      () => {
        const [x, y] = [context.input(0), context.output(0)];
        const axes = [normalizeAxis(context.node.int("axis", -1), x.shape.length)];
        const square = context.node.int("p", 2) === 2;
        const size = g.reduceSum(square ? g.square(x) : g.abs(x), axes, true);
        const zero = g.equal(size, 0);
        const positive = g.where(zero, 1, size);
        const inverse = g.where(zero, 0, g.reciprocal(square ? g.sqrt(positive) : positive));
        const slope = square
          ? y
          : g.sub(g.indicator(g.greater(x, 0), x.type), g.indicator(g.less(x, 0), x.type));
        return g.mul(g.sub(dy, g.mul(slope, g.reduceSum(g.mul(dy, y), axes, true))), inverse);
      },
    ],
    samples: [
      { inputs: [[2, 4]], range: [0.3, 2] },
      { inputs: [[2, 3, 4]], attributes: { axis: int(1), p: int(1) }, range: [0.3, 2], note: "p = 1" },
      { inputs: [[2, 3]], attributes: { axis: int(0), p: int(1) }, range: [-2, -0.3], note: "negative" },
      { inputs: [[4]], range: [-2, -0.3], note: "1-D" },
      { inputs: [[0, 4]], note: "empty batch" },
    ],
  },

  // y = x·s^−β, s = bias + α/size·Σ x² over neighbouring channels: dx = dy·s^−β − 2αβ/size·x·Σ dy·y/s over windows with x
  LRN: {
    vjp: (context, dy, g) => [
      () => {
        const [x, y] = [context.input(0), context.output(0)];
        const { s, share, beta, band, sum } = channelSums(g, context.node, x);
        const back = sum(g.transpose(band), g.div(g.mul(dy, y), s));
        return g.sub(g.mul(dy, g.pow(s, -beta)), g.mul(g.mul(x, back), 2 * share * beta));
      },
    ],
    samples: [
      { inputs: [[2, 5, 2, 3]], attributes: { size: int(3), alpha: float(0.5), bias: float(1.5) } },
      {
        inputs: [[1, 6, 2, 2]],
        attributes: { size: int(5), alpha: float(2), beta: float(0.5) },
        note: "size 5",
      },
      { inputs: [[1, 3, 2, 2]], attributes: { size: int(7), alpha: float(1) }, note: "wider than channels" },
    ],
  },
} satisfies RuleTable;

/** What LRN divides x by, before its power β: s = bias + α/size·Σ x² over neighbouring channels, x: [N, C, …]. */
export function channelSums(g: Emit, node: Node, x: Typed) {
  const size = node.int("size", 1);
  const share = node.float("alpha", 1e-4) / size;
  const [batch, channels] = x.shape as [number, number];
  const flat = [batch, channels, elementCount(x.shape.slice(2))];
  const band = channelBand(g, channels, size, x);
  const sum = (matrix: Typed, values: Typed) => g.reshape(g.matMul(matrix, g.reshape(values, flat)), x.shape);
  const s = g.add(g.mul(sum(band, g.square(x)), share), node.float("bias", 1));
  return { s, share, beta: node.float("beta", 0.75), band, sum };
}

/** Entry c, j is 1 where channel j belongs to the window of channel c: from c − ⌊(size−1)/2⌋ to c + ⌈(size−1)/2⌉. */
function channelBand(g: Emit, channels: number, size: number, x: Typed): Typed {
  const offset = (i: number) => (i % channels) - Math.floor(i / channels);
  const [before, after] = [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)];
  checkStored(channels * channels);
  const data = Float32Array.from({ length: channels * channels }, (_, i) =>
    offset(i) >= -before && offset(i) <= after ? 1 : 0,
  );
  return g.cast(g.constant("float", [channels, channels], data), x.type);
}
