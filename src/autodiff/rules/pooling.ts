import { type Attribute, int, ints, string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { comparable } from "../comparable.ts";
import type { RuleContext, RuleTable, Sample } from "../rule.ts";
import { spreadWindows } from "./convolution-gradients.ts";
import { maxPoolGradient } from "./max-pool.ts";
import { type WindowGeometry, windowGeometry } from "./window-geometry.ts";

function geometryOf(context: RuleContext): WindowGeometry {
  const { node } = context;
  const [x, y] = [context.input(0), context.output(0)];
  return windowGeometry(node, node.ints("kernel_shape") ?? [], x.shape.slice(2), y.shape.slice(2));
}

/** The attributes of a MaxPool's windows, for another MaxPool that outputs no indices. */
const poolingOf = ({ node }: RuleContext): Record<string, Attribute> =>
  Object.fromEntries([...node.attributes].filter(([name]) => name !== "storage_order"));

/** The adjoint of summing over each window: values [N, C, output…] → [N, C, input…]. */
function spreadSums(g: Emit, values: Typed, geometry: WindowGeometry): Typed {
  const [batch, channels] = values.shape as [number, number];
  const planes = g.reshape(values, [batch * channels, 1, ...geometry.output]);
  const ones = g.filled(1, [1, 1, ...geometry.kernel], values.type);
  return g.reshape(spreadWindows(g, planes, ones, geometry, 1), [batch, channels, ...geometry.input]);
}

/** Numbers of elements in each window along one axis: padding counts if it is included, elements beyond it never. */
function windowCounts(geometry: WindowGeometry, axis: number, includePadding: boolean): number[] {
  const at = (list: readonly number[]) => dimAt(list, axis);
  const [dim, begin] = [at(geometry.input), at(geometry.begin)];
  const [low, high] = includePadding ? [-begin, dim + at(geometry.end)] : [0, dim];
  return Array.from({ length: at(geometry.output) }, (_, window) => {
    const start = window * at(geometry.strides) - begin;
    const reads = Array.from({ length: at(geometry.kernel) }, (_, t) => start + t * at(geometry.dilations));
    return reads.filter((position) => position >= low && position < high).length;
  });
}

/** dY divided by the number of elements that count in its window. */
function averaged(g: Emit, dy: Typed, geometry: WindowGeometry, includePadding: boolean): Typed {
  const counts = geometry.kernel.map((_, axis) => windowCounts(geometry, axis, includePadding));
  const uniform = counts.every((list) => list.every((count) => count === list[0]));
  if (uniform) return g.mul(dy, 1 / elementCount(counts.map((list) => list[0] ?? 1)));
  const product = counts.reduce<number[]>((all, list) => all.flatMap((a) => list.map((b) => a * b)), [1]);
  const shares = Float32Array.from(product, (count) => 1 / Math.max(count, 1));
  return g.mul(dy, g.cast(g.constant("float", geometry.output, shares), dy.type));
}

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
      const geometry = geometryOf(context);
      const includePadding = context.node.flag("count_include_pad");
      return [() => spreadSums(g, averaged(g, dy, geometry, includePadding), geometry)];
    },
    linear: true,
    samples: [
      ...poolSamples(),
      ...poolSamples({ count_include_pad: int(1) }).map((sample) => ({
        ...sample,
        note: `${sample.note}, padding counts`,
      })),
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
        return g.expand(g.mul(dy, 1 / elementCount(shape.slice(2))), shape);
      },
    ],
    linear: true,
    samples: globalSamples(),
  },

  // The first maximum gets all of dy.
  GlobalMaxPool: {
    vjp: (context, dy, g) => [
      () => {
        const [x, y] = [context.input(0), context.output(0)];
        const [batch, channels] = x.shape as [number, number];
        const points = elementCount(x.shape.slice(2));
        const numbers = comparable(g, x);
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
