import { float, int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, normalizeAxis } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RuleTable } from "../rule.ts";

/** x less its mean over `axes`, and 1/√(variance + ε): emitted once for the same x. */
function standardize(g: Emit, x: Typed, axes: readonly number[], epsilon: number) {
  const key = `${x.name} over ${axes} ${epsilon}`;
  const centred = g.once(`centred ${key}`, () => g.sub(x, g.reduceMean(x, axes, true)));
  const r = g.once(`1/deviation ${key}`, () =>
    g.reciprocal(g.sqrt(g.add(g.reduceMean(g.square(centred), axes, true), epsilon))),
  );
  return { centred, r };
}

/** Gradient to x of x̂ = (x − mean)·r, given that of x̂: r·(dx̂ − mean dx̂ − (x − mean)·r²·mean(dx̂·(x − mean))). */
function standardizedGradient(g: Emit, d: Typed, x: Typed, axes: readonly number[], epsilon: number): Typed {
  const { centred, r } = standardize(g, x, axes, epsilon);
  const slope = g.mul(g.square(r), g.reduceMean(g.mul(d, centred), axes, true));
  return g.mul(g.sub(g.sub(d, g.reduceMean(d, axes, true)), g.mul(centred, slope)), r);
}

/** x̂ of x, for the gradient of a scale. */
function standardized(g: Emit, x: Typed, axes: readonly number[], epsilon: number): Typed {
  const { centred, r } = standardize(g, x, axes, epsilon);
  return g.mul(centred, r);
}

const channelAxes = (x: Typed) => allAxes(x.shape.length).filter((axis) => axis !== 1);
const spatialAxes = (x: Typed) => allAxes(x.shape.length).slice(2);

/** [C] → [C, 1, …] for x: [N, C, …]. */
const column = (g: Emit, values: Typed, x: Typed) =>
  g.reshape(values, [dimAt(values.shape, 0), ...spatialAxes(x).map(() => 1)]);

const normSamples = { range: [0.3, 2] as const };

export const normalization = {
  // x̂ over the axes from `axis` on; y = x̂·scale + bias
  LayerNormalization: {
    vjp: (context, dy, g) => {
      const [x, scale] = [context.input(0), context.input(1)];
      const start = normalizeAxis(context.node.int("axis", -1), x.shape.length);
      const axes = allAxes(x.shape.length).slice(start);
      const epsilon = context.node.float("epsilon", 1e-5);
      return [
        () => standardizedGradient(g, g.mul(dy, scale), x, axes, epsilon),
        () => g.mul(dy, standardized(g, x, axes, epsilon)),
        () => dy,
      ];
    },
    samples: [
      { inputs: [[2, 3, 4], [4], [4]] },
      {
        inputs: [
          [2, 3, 4],
          [3, 4],
        ],
        attributes: { axis: int(1), epsilon: float(0.1) },
        note: "no bias",
      },
    ],
  },

  // x̂ of each sample and channel over space
  InstanceNormalization: {
    vjp: (context, dy, g) => {
      const [x, scale] = [context.input(0), context.input(1)];
      const axes = spatialAxes(x);
      const epsilon = context.node.float("epsilon", 1e-5);
      return [
        () => standardizedGradient(g, g.mul(dy, column(g, scale, x)), x, axes, epsilon),
        () => g.reduceSum(g.mul(dy, standardized(g, x, axes, epsilon)), channelAxes(x)),
        () => g.reduceSum(dy, channelAxes(x)),
      ];
    },
    samples: [
      { inputs: [[2, 3, 4, 2], [3], [3]] },
      { inputs: [[2, 3, 5], [3], [3]], attributes: { epsilon: float(0.1) }, note: "1-D" },
    ],
  },

  // x̂ of each sample and group of channels; scale and bias per channel (opset 21) or per group (18)
  GroupNormalization: {
    vjp: (context, dy, g) => {
      const [x, scale] = [context.input(0), context.input(1)];
      const [batch, channels] = x.shape as [number, number];
      const groups = context.node.int("num_groups", 1);
      const epsilon = context.node.float("epsilon", 1e-5);
      const grouped = [batch, groups, elementCount(x.shape.slice(1)) / groups];
      const inGroups = g.once(`${x.name} in ${groups} groups`, () => g.reshape(x, grouped));
      const perGroup = dimAt(scale.shape, 0) !== channels;
      const spread = (values: Typed) =>
        perGroup
          ? g.reshape(g.expand(g.reshape(values, [groups, 1]), [groups, channels / groups]), [channels])
          : values;
      const gather = (values: Typed) =>
        perGroup ? g.reduceSum(g.reshape(values, [groups, channels / groups]), [1]) : values;
      return [
        () => {
          const scaled = g.reshape(g.mul(dy, column(g, spread(scale), x)), grouped);
          return g.reshape(standardizedGradient(g, scaled, inGroups, [2], epsilon), x.shape);
        },
        () => {
          const unit = g.reshape(standardized(g, inGroups, [2], epsilon), x.shape);
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
    ],
  },

  // y = x/n: dx = (dy − ∂n/∂x · Σ dy·y)/n, with n = √Σx² (∂n/∂x = y) or Σ|x| (sign x); 0 where n is
  LpNormalization: {
    vjp: (context, dy, g) => [
      () => {
        const [x, y] = [context.input(0), context.output(0)];
        const axes = [normalizeAxis(context.node.int("axis", -1), x.shape.length)];
        const square = context.node.int("p", 2) === 2;
        const size = g.reduceSum(square ? g.square(x) : g.abs(x), axes, true);
        const zero = g.equal(size, 0);
        const norm = square ? g.sqrt(size) : size;
        const inverse = g.where(zero, 0, g.reciprocal(g.where(zero, 1, norm)));
        const slope = square
          ? y
          : g.sub(g.indicator(g.greater(x, 0), x.type), g.indicator(g.less(x, 0), x.type));
        return g.mul(g.sub(dy, g.mul(slope, g.reduceSum(g.mul(dy, y), axes, true))), inverse);
      },
    ],
    samples: [
      { inputs: [[2, 4]], ...normSamples },
      { inputs: [[2, 3, 4]], attributes: { axis: int(1), p: int(1) }, ...normSamples, note: "p = 1" },
    ],
  },

  // y = x·s^−β, s = bias + α/size·Σ x² over neighbouring channels: dx = dy·s^−β − 2αβ/size·x·Σ dy·y/s over those it is in
  LRN: {
    vjp: (context, dy, g) => [
      () => {
        const { node } = context;
        const [x, y] = [context.input(0), context.output(0)];
        const size = node.int("size", 1);
        const [alpha, beta] = [node.float("alpha", 1e-4), node.float("beta", 0.75)];
        const [batch, channels] = x.shape as [number, number];
        const flat = [batch, channels, elementCount(x.shape.slice(2))];
        const band = channelBand(g, channels, size, x);
        const sum = (matrix: Typed, values: Typed) =>
          g.reshape(g.matMul(matrix, g.reshape(values, flat)), x.shape);
        const s = g.add(g.mul(sum(band, g.square(x)), alpha / size), node.float("bias", 1));
        const back = sum(g.transpose(band), g.div(g.mul(dy, y), s));
        return g.sub(g.mul(dy, g.pow(s, -beta)), g.mul(g.mul(x, back), (2 * alpha * beta) / size));
      },
    ],
    samples: [
      { inputs: [[2, 5, 2, 3]], attributes: { size: int(3), alpha: float(0.5), bias: float(1.5) } },
      {
        inputs: [[1, 6, 2, 2]],
        attributes: { size: int(5), alpha: float(2), beta: float(0.5) },
        note: "size 5",
      },
    ],
  },
} satisfies RuleTable;

/** Entry c, j is 1 where channel j belongs to the window of channel c: from c − ⌊(size−1)/2⌋ to c + ⌈(size−1)/2⌉. */
function channelBand(g: Emit, channels: number, size: number, x: Typed): Typed {
  const offset = (i: number) => (i % channels) - Math.floor(i / channels);
  const [before, after] = [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)];
  const data = Float32Array.from({ length: channels * channels }, (_, i) =>
    offset(i) >= -before && offset(i) <= after ? 1 : 0,
  );
  return g.cast(g.constant("float", [channels, channels], data), x.type);
}
