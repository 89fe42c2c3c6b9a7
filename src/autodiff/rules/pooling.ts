import { type Attribute, int, ints, string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Shape } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { comparable } from "../comparable.ts";
import type { RuleContext, RuleTable, Sample } from "../rule.ts";
import { maxPoolGradient } from "./max-pool.ts";
import { type WindowGeometry, windowGeometry } from "./window-geometry.ts";
import { spreadMeans, spreadSums } from "./window-sums.ts";

/** Up to this many points per channel, a product with a stored row of 1/points is faster than Expand. */
const productUpTo = 1024;

function geometryOf(context: RuleContext): WindowGeometry {
  const { node } = context;
  const [x, y] = [context.input(0), context.output(0)];
  return windowGeometry(node, node.ints("kernel_shape") ?? [], x.shape.slice(2), y.shape.slice(2));
}

/** The attributes of a MaxPool's windows, for another MaxPool that outputs no indices. */
const poolingOf = ({ node }: RuleContext): Record<string, Attribute> =>
  Object.fromEntries([...node.attributes].filter(([name]) => name !== "storage_order"));

/** dx = Σ dy·y^(1−p) · x|x|^(p−2) of the windows' norms y; `spread` adds each window's value to all its elements. */
function normGradient(context: RuleContext, dy: Typed, g: Emit, spread: (windows: Typed) => Typed): Typed {
  const [x, y, p] = [context.input(0), context.output(0), context.node.int("p", 2)];
  const sign = () => g.sub(g.indicator(g.greater(x, 0), x.type), g.indicator(g.less(x, 0), x.type));
  if (p === 1) return g.mul(spread(dy), sign());
  const zero = g.equal(y, 0);
  const weighted = g.where(zero, 0, g.div(dy, g.pow(g.where(zero, 1, y), p - 1)));
  return g.mul(spread(weighted), p === 2 ? x : g.mul(sign(), g.pow(g.abs(x), p - 1)));
}

const poolSamples = (extra: Sample["attributes"] = {}, distinct = false): [Sample, ...Sample[]] => {
  const sample = (shape: Shape, attributes: NonNullable<Sample["attributes"]>, note: string): Sample => ({
    inputs: [{ shape, distinct }],
    attributes: { ...extra, ...attributes },
    note,
  });
  return [
    sample([2, 3, 4, 6], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }, "partition"),
    sample([1, 2, 6, 6], { kernel_shape: ints([3, 2]), strides: ints([3, 2]) }, "partition, 3×2"),
    sample([1, 2, 5, 7], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }, "rows left over"),
    sample(
      [1, 1, 7, 7],
      { kernel_shape: ints([3, 3]), strides: ints([2, 2]), pads: ints([1, 1, 1, 1]) },
      "overlapping",
    ),
    sample([1, 2, 4, 4], { kernel_shape: ints([2, 3]) }, "stride 1"),
    sample(
      [1, 2, 5, 5],
      { kernel_shape: ints([2, 2]), strides: ints([2, 2]), ceil_mode: int(1) },
      "ceil_mode",
    ),
    sample(
      [1, 1, 6, 5],
      { kernel_shape: ints([3, 3]), strides: ints([2, 2]), pads: ints([1, 0, 0, 1]), ceil_mode: int(1) },
      "ceil_mode, padded",
    ),
    sample(
      [1, 1, 5, 6],
      { kernel_shape: ints([3, 2]), strides: ints([2, 2]), auto_pad: string("SAME_UPPER") },
      "SAME_UPPER",
    ),
    sample([1, 1, 5, 6], { kernel_shape: ints([2, 3]), auto_pad: string("SAME_LOWER") }, "SAME_LOWER"),
    sample(
      [1, 2, 5, 6],
      { kernel_shape: ints([2, 2]), strides: ints([3, 1]), auto_pad: string("VALID") },
      "VALID",
    ),
    sample([0, 2, 4, 4], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }, "no samples"),
    sample([2, 2, 6], { kernel_shape: ints([2]), strides: ints([2]) }, "1-D partition"),
    sample([2, 2, 7], { kernel_shape: ints([3]), strides: ints([2]), pads: ints([1, 1]) }, "1-D"),
    sample([1, 2, 4, 2, 4], { kernel_shape: ints([2, 2, 2]), strides: ints([2, 2, 2]) }, "3-D partition"),
    sample(
      [1, 1, 4, 3, 3],
      { kernel_shape: ints([2, 2, 3]), strides: ints([2, 1, 1]), pads: ints([0, 0, 1, 0, 1, 1]) },
      "3-D",
    ),
  ];
};
/** Samples whose windows end beyond the input, and beyond its padding. */
const ceilSamples = (extra: NonNullable<Sample["attributes"]>, opset: number): Sample[] =>
  [
    { shape: [1, 1, 6, 6], kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
    { shape: [1, 1, 5, 8], kernel: [2, 3], strides: [2, 3], pads: [0, 0, 1, 1] },
    { shape: [1, 2, 4, 4], kernel: [3, 3], strides: [3, 3], pads: [0, 0, 0, 0] },
    { shape: [1, 1, 9], kernel: [4], strides: [3], pads: [1, 2] },
    { shape: [1, 1, 4, 5, 3], kernel: [2, 3, 2], strides: [3, 2, 2], pads: [1, 1, 0, 0, 1, 1] },
  ].map(({ shape, kernel, strides, pads }) => ({
    inputs: [shape],
    attributes: {
      ...{ kernel_shape: ints(kernel), strides: ints(strides), pads: ints(pads), ceil_mode: int(1) },
      ...extra,
    },
    opset,
    note: `ceil_mode, opset ${opset}`,
  }));
const globalSamples = (distinct = false): [Sample, ...Sample[]] => [
  { inputs: [{ shape: [2, 3, 4, 2], distinct }] },
  { inputs: [{ shape: [2, 3, 5], distinct }], note: "1-D" },
  { inputs: [{ shape: [2, 3, 1, 1], distinct }], note: "one element" },
  { inputs: [{ shape: [2, 2, 2, 3, 2], distinct }], note: "3-D" },
];

export const pooling = {
  // The first element of a window (row-major) that equals the maximum gets all of dy, as in PyTorch.
  MaxPool: {
    vjp: (context, dy, g) => [
      () => {
        const [x, y] = [context.input(0), context.output(0)];
        const numbers = comparable(g, x);
        const largest =
          numbers === x ? y : g.op("MaxPool", [numbers], y.shape, { attributes: poolingOf(context) });
        return maxPoolGradient(g, numbers, largest, dy, geometryOf(context));
      },
    ],
    samples: [
      ...poolSamples({}, true),
      {
        inputs: [{ shape: [1, 2, 6, 7], distinct: true }],
        attributes: { kernel_shape: ints([2, 3]), dilations: ints([2, 2]), strides: ints([1, 2]) },
        note: "dilated",
      },
      {
        inputs: [{ shape: [1, 2, 4, 4], distinct: true }],
        attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
        outputs: 2,
        note: "with indices",
      },
      {
        inputs: [{ shape: [1, 1, 2, 160], distinct: true }],
        attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
        note: "long rows",
      },
      ...ceilSamples({}, 22).map((sample) => ({
        ...sample,
        inputs: [{ shape: sample.inputs[0] as Shape, distinct: true }],
      })),
      {
        inputs: [{ shape: [1, 1, 8, 7], distinct: true }],
        attributes: {
          ...{ kernel_shape: ints([3, 2]), dilations: ints([2, 3]), strides: ints([2, 2]) },
          ...{ pads: ints([1, 1, 2, 1]), ceil_mode: int(1), storage_order: int(1) },
        },
        outputs: 2,
        note: "dilated, ceil_mode, indices column by column",
      },
    ],
  },

  // Every element of a window gets dy / (number of counted elements).
  AveragePool: {
    vjp: (context, dy, g) => {
      const includePadding = context.node.flag("count_include_pad");
      return [() => spreadMeans(g, dy, geometryOf(context), includePadding)];
    },
    linear: true,
    samples: [
      ...poolSamples(),
      ...poolSamples({ count_include_pad: int(1) }).map((sample) => ({
        ...sample,
        note: `${sample.note}, padding counts`,
      })),
      {
        inputs: [[1, 2, 4, 150]],
        attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
        note: "long rows",
      },
      {
        inputs: [[1, 2, 4, 131]],
        attributes: { kernel_shape: ints([2, 3]), strides: ints([2, 2]), pads: ints([1, 0, 0, 1]) },
        note: "long rows, padded",
      },
      ...[0, 1].flatMap((counted): Sample[] => [
        ...ceilSamples({ count_include_pad: int(counted) }, 19),
        ...ceilSamples({ count_include_pad: int(counted) }, 11),
        {
          inputs: [[1, 2, 7, 8]],
          attributes: {
            ...{ kernel_shape: ints([2, 3]), dilations: ints([2, 2]), strides: ints([2, 1]) },
            ...{ pads: ints([1, 0, 1, 2]), count_include_pad: int(counted) },
          },
          opset: 19,
          note: "dilated",
        },
        {
          inputs: [[1, 1, 8, 7]],
          attributes: {
            ...{ kernel_shape: ints([3, 2]), dilations: ints([2, 3]), strides: ints([2, 2]) },
            ...{ pads: ints([1, 1, 2, 1]), count_include_pad: int(counted), ceil_mode: int(1) },
          },
          opset: 22,
          note: "dilated, ceil_mode",
        },
      ]),
    ],
  },

  // y = (Σ |x|ᵖ)^(1/p): dx = Σ dy·y^(1−p) · x|x|^(p−2), and 0 where y = 0
  LpPool: {
    vjp: (context, dy, g) => [
      () => normGradient(context, dy, g, (values) => spreadSums(g, values, geometryOf(context))),
    ],
    samples: [
      { inputs: [[1, 2, 4, 4]], attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) } },
      ...poolSamples({ p: int(2) }).map((sample) => ({ ...sample, opset: 18 })),
      {
        inputs: [[1, 2, 6, 7]],
        attributes: {
          ...{ kernel_shape: ints([2, 3]), dilations: ints([2, 2]), strides: ints([2, 1]) },
          ...{ pads: ints([1, 0, 1, 2]), ceil_mode: int(1) },
        },
        opset: 22,
        note: "dilated, ceil_mode",
      },
      {
        inputs: [{ shape: [1, 2, 5, 5], range: [0.2, 1] }],
        attributes: {
          kernel_shape: ints([3, 3]),
          strides: ints([2, 2]),
          pads: ints([1, 1, 1, 1]),
          p: int(3),
        },
        note: "p = 3",
      },
      {
        inputs: [{ shape: [1, 2, 5], range: [0.2, 1] }],
        attributes: { kernel_shape: ints([3]), p: int(1) },
        note: "p = 1",
      },
    ],
  },

  // The same with one window over the whole channel.
  GlobalLpPool: {
    vjp: (context, dy, g) => [
      () => normGradient(context, dy, g, (values) => g.expand(values, context.input(0).shape)),
    ],
    samples: [
      ...globalSamples(),
      {
        inputs: [{ shape: [1, 2, 2, 3, 2], range: [0.2, 1] }],
        attributes: { p: int(3) },
        note: "p = 3, 3-D",
      },
      { inputs: [{ shape: [2, 2, 4], range: [-1, -0.2] }], attributes: { p: int(1) }, note: "p = 1" },
    ],
  },

  // dx = dy / (number of elements)
  GlobalAveragePool: {
    vjp: (context, dy, g) => [
      () => {
        const { shape } = context.input(0);
        const points = elementCount(shape.slice(2));
        if (points > productUpTo) return g.expand(g.mul(dy, 1 / points), shape);
        const share = g.numbers(Array<number>(points).fill(1 / points), [1, points], dy.type);
        return g.reshape(g.matMul(g.reshape(dy, [elementCount(dy.shape), 1]), share), shape);
      },
    ],
    linear: true,
    samples: [...globalSamples(), { inputs: [[2, 2, 5, 210]], note: "many points" }],
  },

  // The first maximum gets all of dy.
  GlobalMaxPool: {
    vjp: (context, dy, g) => [
      () => {
        const [x, y] = [context.input(0), context.output(0)];
        const [batch, channels] = x.shape as [number, number];
        const points = elementCount(x.shape.slice(2));
        const numbers = comparable(g, x);
        checkStored(points);
        const flat = g.reshape(numbers, [batch, channels, points]);
        const largest = numbers === x ? g.reshape(y, [batch, channels, 1]) : g.reduceMax(flat, [2], true);
        const index = g.constant(
          "float",
          [points],
          Float32Array.from({ length: points }, (_, i) => i),
        );
        const attains = g.equal(flat, largest);
        const first = g.reduceMin(g.where(attains, index, points), [2], true);
        const chosen = g.indicator(g.equal(index, first), x.type);
        return g.reshape(g.mul(chosen, g.reshape(dy, [batch, channels, 1])), x.shape);
      },
    ],
    samples: globalSamples(true),
  },
} satisfies RuleTable;
