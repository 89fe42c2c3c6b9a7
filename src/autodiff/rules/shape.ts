import { int, ints } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, normalizeAxis } from "../../graph/shapes.ts";
import type { RuleContext, RuleTable } from "../rule.ts";

const vector = (...values: number[]) => ({ shape: [values.length], constant: values });
/** The gradient of operators that only reshape: dy in the input's shape. */
const reshaping = (context: RuleContext, dy: Typed, g: Emit) => [
  () => g.reshape(dy, context.input(0).shape),
  null,
];

export const shape = {
  Reshape: {
    vjp: reshaping,
    samples: [
      { inputs: [[2, 3], vector(3, 2)] },
      { inputs: [[2, 3, 4], vector(0, -1)] },
      { inputs: [[], vector(1, 1)], note: "scalar" },
      { inputs: [[1, 1], vector()], note: "to a scalar" },
      { inputs: [[0, 3], vector(3, 0)], attributes: { allowzero: int(1) }, note: "empty" },
      { inputs: [[0, 3], vector(0, 1, 3)], note: "empty, copied" },
    ],
    linear: true,
  },
  Flatten: {
    vjp: reshaping,
    samples: [
      { inputs: [[2, 3, 4]] },
      { inputs: [[2, 3, 4]], attributes: { axis: int(0) } },
      { inputs: [[2, 3, 4]], attributes: { axis: int(-1) } },
      { inputs: [[2, 3]], attributes: { axis: int(2) }, note: "a column" },
      { inputs: [[]], attributes: { axis: int(0) }, note: "scalar" },
      { inputs: [[2, 0, 3]], note: "empty" },
    ],
    linear: true,
  },
  Squeeze: {
    vjp: reshaping,
    samples: [
      { inputs: [[2, 1, 3], vector(1)] },
      { inputs: [[1, 2, 1]] },
      { inputs: [[1, 2, 1], vector(-1, 0)], note: "negative axis" },
      { inputs: [[1, 1]], note: "to a scalar" },
      { inputs: [[1, 0], vector(0)], note: "empty" },
    ],
    linear: true,
  },
  Unsqueeze: {
    vjp: reshaping,
    samples: [
      { inputs: [[2, 3], vector(0, -1)] },
      { inputs: [[2, 3], vector(3, 1)], note: "unordered" },
      { inputs: [[], vector(0)], note: "scalar" },
      { inputs: [[0], vector(1)], note: "empty" },
    ],
    linear: true,
  },
  // The inverse permutation.
  Transpose: {
    vjp: (context, dy, g) => {
      const order = context.node.ints("perm") ?? allAxes(dy.shape.length).reverse();
      return [
        () =>
          g.transpose(
            dy,
            allAxes(order.length).map((axis) => order.indexOf(axis)),
          ),
      ];
    },
    samples: [
      { inputs: [[2, 3]] },
      { inputs: [[2, 3, 4]], attributes: { perm: ints([2, 0, 1]) } },
      { inputs: [[]], note: "scalar" },
      { inputs: [[0, 3]], note: "empty" },
    ],
    linear: true,
  },
  // dy itself: the walk sums gradients over broadcast axes.
  Expand: {
    vjp: (_, dy) => [() => dy, null],
    samples: [
      { inputs: [[3, 1], vector(2, 3, 4)] },
      { inputs: [[], vector(2, 3)] },
      { inputs: [[3, 4], vector(1, 1)], note: "ones" },
      { inputs: [[1, 3], vector(0, 3)], note: "to nothing" },
    ],
    linear: true,
  },
  // Sums over the copies, after reshaping [r₁·d₁, …] to [r₁, d₁, …]
  Tile: {
    vjp: (context, dy, g) => [
      () => {
        const { shape } = context.input(0);
        const interleaved = shape.flatMap((dim, axis) => [dim && dimAt(dy.shape, axis) / dim, dim]);
        return g.reduceSum(
          g.reshape(dy, interleaved),
          shape.map((_, axis) => 2 * axis),
        );
      },
      null,
    ],
    samples: [
      { inputs: [[2, 3], vector(2, 3)] },
      { inputs: [[2, 3], vector(1, 2)] },
      { inputs: [[3], vector(4)], note: "vector" },
      { inputs: [[2, 3], vector(0, 2)], note: "no copies" },
      { inputs: [[0, 3], vector(2, 2)], note: "empty" },
    ],
    linear: true,
  },
  // Each input gets its own part of dy.
  Concat: {
    vjp: (context, dy, g) => {
      const axis = normalizeAxis(context.node.int("axis", 0), dy.shape.length);
      let start = 0;
      return context.inputs.map((_, index) => {
        const length = dimAt(context.input(index).shape, axis);
        const from = start;
        start += length;
        return () => g.slice(dy, [{ axis, start: from, length }]);
      });
    },
    samples: [
      {
        inputs: [
          [2, 3],
          [2, 1],
          [2, 2],
        ],
        attributes: { axis: int(1) },
      },
      { inputs: [[2, 3]], attributes: { axis: int(-2) }, note: "one" },
      {
        inputs: [
          [2, 0],
          [2, 3],
        ],
        attributes: { axis: int(-1) },
        note: "an empty part",
      },
    ],
    linear: true,
  },
  // Concatenates the gradients of the parts; an unread part contributes zeros.
  Split: {
    vjp: (context, _dy, g) => [
      () => {
        const axis = context.node.int("axis", 0);
        const parts = context.outputs.flatMap((part, index) =>
          part ? [context.gradient(index) ?? g.filled(0, part.shape, part.type)] : [],
        );
        return g.concat(parts, axis);
      },
      null,
    ],
    samples: [
      { inputs: [[2, 6], vector(1, 2, 3)], attributes: { axis: int(1) }, outputs: 3 },
      { inputs: [[4, 2]], attributes: { num_outputs: int(2) }, outputs: 2 },
      { inputs: [[4, 2], vector(2, 2)], outputs: 2, opset: 13 },
      { inputs: [[2, 7]], attributes: { num_outputs: int(3), axis: int(-1) }, outputs: 3, note: "uneven" },
      { inputs: [[2, 3], vector(0, 3)], attributes: { axis: int(1) }, outputs: 2, note: "an empty part" },
    ],
    linear: true,
  },
  // Pads dy with zeros, and inserts zeros between the steps.
  Slice: {
    vjp: (context, dy, g) => [() => sliceGradient(context, dy, g), null, null, null, null],
    samples: [
      { inputs: [[5, 6], vector(1, 2), vector(4, 5)] },
      { inputs: [[5, 6], vector(-3), vector(1000), vector(1)] },
      { inputs: [[5, 7], vector(0, 6), vector(5, -100), vector(0, 1), vector(2, -2)], note: "steps" },
      { inputs: [[8], vector(1), vector(8), vector(0), vector(3)], note: "step leaves a rest" },
      { inputs: [[4], vector(-1), vector(-1000), vector(0), vector(-1)], note: "reversed" },
      { inputs: [[4, 3], vector(2), vector(2)], note: "nothing" },
      { inputs: [[0, 3], vector(1), vector(2), vector(1)], note: "empty" },
    ],
    linear: true,
  },
} satisfies RuleTable;

function sliceGradient(context: RuleContext, dy: Typed, g: Emit): Typed {
  const x = context.input(0);
  const rank = x.shape.length;
  const starts = context.constant(1) ?? [];
  const axes = (context.constant(3) ?? starts.map((_, i) => i)).map((axis) => normalizeAxis(axis, rank));
  const steps = context.constant(4) ?? starts.map(() => 1);
  let gradient = dy;
  const pads = new Array<number>(2 * rank).fill(0);
  axes.forEach((axis, i) => {
    const dim = dimAt(x.shape, axis);
    const step = steps[i] ?? 1;
    const length = dimAt(dy.shape, axis);
    if (length === 0) {
      pads[axis + rank] = dim;
      return;
    }
    const raw = (starts[i] ?? 0) < 0 ? (starts[i] ?? 0) + dim : (starts[i] ?? 0);
    const start = Math.min(Math.max(raw, 0), step < 0 ? dim - 1 : dim);
    const first = step < 0 ? start + (length - 1) * step : start;
    if (step < 0) gradient = g.slice(gradient, [{ axis, start: length - 1, length, step: -1 }]);
    const stride = Math.abs(step);
    if (stride > 1) gradient = spread(g, gradient, axis, stride);
    const covered = (length - 1) * stride + 1;
    pads[axis] = first;
    pads[axis + rank] = dim - first - covered;
  });
  return g.pad(gradient, pads);
}

/** Inserts `stride − 1` zeros between neighbours along an axis. */
function spread(g: Emit, x: Typed, axis: number, stride: number): Typed {
  const length = dimAt(x.shape, axis);
  const split = [...x.shape.slice(0, axis + 1), 1, ...x.shape.slice(axis + 1)];
  const pads = new Array<number>(2 * split.length).fill(0);
  pads[axis + 1 + split.length] = stride - 1;
  const joined = x.shape.map((dim, i) => (i === axis ? dim * stride : dim));
  const wide = g.reshape(g.pad(g.reshape(x, split), pads), joined);
  return g.slice(wide, [{ axis, start: 0, length: (length - 1) * stride + 1 }]);
}
