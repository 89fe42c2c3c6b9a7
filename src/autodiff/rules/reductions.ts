import { int, ints } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, normalizeAxis, reducedShape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { comparable } from "../comparable.ts";
import type { Rule, RuleContext, RuleTable, Sample } from "../rule.ts";
import { productsBefore } from "../running-products.ts";

/** The reduced axes of a node, from its attribute or its input. */
function axesOf(context: RuleContext): number[] {
  const { node } = context;
  const rank = context.input(0).shape.length;
  const given = node.ints("axes") ?? context.constant(1) ?? [];
  if (given.length > 0) return given.map((axis) => normalizeAxis(axis, rank));
  return node.flag("noop_with_empty_axes") ? [] : allAxes(rank);
}

const axesInput = (...axes: number[]) => ({ shape: [axes.length], constant: axes });

const reduceSamples = (range?: readonly [number, number], distinct = false): [Sample, ...Sample[]] => {
  const data = (shape: number[]) => ({ shape, ...(range ? { range } : {}), distinct });
  return [
    { inputs: [data([2, 3, 4]), axesInput(1)], attributes: { keepdims: int(0) } },
    { inputs: [data([2, 3, 4]), axesInput(0, -1)] },
    { inputs: [data([2, 3])], attributes: { keepdims: int(0) }, note: "all axes" },
    { inputs: [data([2, 3])], attributes: { noop_with_empty_axes: int(1) }, note: "no axes" },
    { inputs: [data([2, 1, 3]), axesInput(1)], note: "axis of length 1" },
    { inputs: [data([2, 3]), axesInput()], note: "empty list of axes" },
    { inputs: [data([2, 3, 2]), axesInput(-3, 1)], attributes: { keepdims: int(0) }, note: "apart" },
    { inputs: [data([])], note: "scalar" },
  ];
};
/** Empty tensors, for reductions that have a value on them. */
const emptySamples: readonly Sample[] = [
  { inputs: [[2, 0], axesInput(1)], note: "of nothing" },
  { inputs: [[0, 3], axesInput(1)], attributes: { keepdims: int(0) }, note: "empty" },
];
/** The older form with an attribute `axes`. ReduceSum took its axes as an input five opsets before the others. */
const withAxesAttribute: Sample = {
  inputs: [[2, 3, 4]],
  attributes: { axes: ints([1]), keepdims: int(0) },
  opset: 13,
  note: "axes attribute",
};

/** The rule of a reduction. `gradient` returns dx and receives dy and y with the reduced axes kept as 1. */
function reduction(
  gradient: (
    g: Emit,
    parts: { x: Typed; y: Typed; dy: Typed; count: number; axes: readonly number[] },
  ) => Typed,
  {
    samples,
    linear = false,
  }: { readonly samples: readonly [Sample, ...Sample[]]; readonly linear?: boolean },
): Rule {
  return {
    vjp: (context, dy, g) => [
      () => {
        const x = context.input(0);
        const axes = axesOf(context);
        const kept = reducedShape(x.shape, axes, true);
        const parts = {
          x,
          axes,
          count: elementCount(axes.map((axis) => dimAt(x.shape, axis))),
          dy: g.reshape(dy, kept),
          get y() {
            return g.reshape(context.output(0), kept);
          },
        };
        return g.expand(gradient(g, parts), x.shape);
      },
      null,
    ],
    samples,
    linear,
  };
}

/** Elements that tie at the extremum get equal shares of the gradient, as in PyTorch's amax and amin. */
const extremum = (side: "reduceMax" | "reduceMin") =>
  reduction(
    (g, { x, y, dy, axes }) => {
      const numbers = comparable(g, x);
      const attained = numbers === x ? y : g[side](numbers, axes, true);
      const attains = g.indicator(g.equal(numbers, attained), x.type);
      return g.mul(attains, g.div(dy, g.reduceSum(attains, axes, true)));
    },
    { samples: reduceSamples(undefined, true) },
  );

const softmaxSamples: [Sample, ...Sample[]] = [
  { inputs: [[2, 3]] },
  { inputs: [[2, 3, 4]], attributes: { axis: int(1) } },
  { inputs: [[4]], attributes: { axis: int(0) } },
  { inputs: [[2, 3, 4]], attributes: { axis: int(-3) }, note: "negative axis" },
  { inputs: [[0, 3]], note: "empty" },
];

export const reductions = {
  ReduceSum: reduction((_, { dy }) => dy, { samples: [...reduceSamples(), ...emptySamples], linear: true }),
  ReduceMean: reduction((g, { dy, count }) => g.mul(dy, 1 / count), {
    samples: [...reduceSamples(), withAxesAttribute],
    linear: true,
  }),
  ReduceMax: extremum("reduceMax"),
  ReduceMin: extremum("reduceMin"),
  // d Σx² = 2x
  ReduceSumSquare: reduction((g, { x, dy }) => g.mul(g.mul(dy, 2), x), {
    samples: [...reduceSamples(), ...emptySamples],
  }),
  // d √Σx² = x/y, 0 at the origin
  ReduceL2: reduction(
    (g, { x, y, dy }) => {
      const zero = g.equal(y, 0);
      return g.mul(x, g.where(zero, 0, g.div(dy, g.where(zero, 1, y))));
    },
    { samples: reduceSamples() },
  ),
  // d Σ|x| = sign x
  ReduceL1: reduction(
    (g, { x, dy }) =>
      g.mul(dy, g.sub(g.indicator(g.greater(x, 0), x.type), g.indicator(g.less(x, 0), x.type))),
    {
      samples: [
        ...reduceSamples([0.1, 1]),
        { inputs: [[2, 3, 4], axesInput(1)], range: [-1, -0.1], note: "negative" },
      ],
    },
  ),
  // d log Σx = 1/Σx = e^(−y)
  ReduceLogSum: reduction((g, { y, dy }) => g.mul(dy, g.exp(g.neg(y))), { samples: reduceSamples([0.2, 2]) }),
  // d log Σeˣ = e^(x−y)
  ReduceLogSumExp: reduction((g, { x, y, dy }) => g.mul(dy, g.exp(g.sub(x, y))), {
    samples: reduceSamples(),
  }),
  // d Πx = the product of the other elements
  ReduceProd: {
    vjp: (context, dy, g) => [() => productGradient(g, context, dy), null],
    samples: [
      ...reduceSamples([0.5, 2]),
      { inputs: [{ shape: [3, 2], range: [0, 0] }, axesInput(1)], note: "zeros" },
      { inputs: [{ shape: [13], range: [0.5, 1.5] }], note: "thirteen" },
      { inputs: [[0, 3], axesInput(1)], note: "empty" },
    ],
  },

  // dx = y(dy − Σ dy·y)
  Softmax: {
    vjp: (context, dy, g) => [
      () => {
        const y = context.output(0);
        const weighted = g.mul(dy, y);
        return g.sub(weighted, g.mul(y, g.reduceSum(weighted, [context.node.int("axis", -1)], true)));
      },
    ],
    samples: softmaxSamples,
  },
  // dx = dy − eʸ Σ dy
  LogSoftmax: {
    vjp: (context, dy, g) => [
      () => g.sub(dy, g.mul(g.exp(context.output(0)), g.reduceSum(dy, [context.node.int("axis", -1)], true))),
    ],
    samples: softmaxSamples,
  },
} satisfies RuleTable;

/** dy·Π of the other elements, by running products from both ends; also right where elements are 0. */
function productGradient(g: Emit, context: RuleContext, dy: Typed): Typed {
  const x = context.input(0);
  const axes = axesOf(context);
  const others = allAxes(x.shape.length).filter((axis) => !axes.includes(axis));
  const order = [...others, ...axes];
  const moved = g.transpose(x, order);
  const rows = elementCount(others.map((axis) => dimAt(x.shape, axis)));
  const count = elementCount(axes.map((axis) => dimAt(x.shape, axis)));
  const matrix = g.reshape(moved, [rows, count]);
  const rest = g.mul(productsBefore(g, matrix, 1, "forward"), productsBefore(g, matrix, 1, "backward"));
  const gradient = g.mul(rest, g.reshape(dy, [rows, 1]));
  const inverse = allAxes(order.length).map((axis) => order.indexOf(axis));
  return g.transpose(g.reshape(gradient, moved.shape), inverse);
}
