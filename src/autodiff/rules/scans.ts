import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { normalizeAxis } from "../../graph/shapes.ts";
import type { RuleContext, RuleTable, Sample, SampleInput } from "../rule.ts";
import { productsBefore, recurrence, shifted } from "../running-products.ts";

const axisOf = (context: RuleContext) =>
  normalizeAxis(context.constant(1)?.[0] ?? 0, context.input(0).shape.length);
const flags = (context: RuleContext) => ({
  reverse: context.node.flag("reverse"),
  exclusive: context.node.flag("exclusive"),
});

/**
 * dxᵢ = Π of the factors before xᵢ · Σⱼ dyⱼ · Π of the factors between xᵢ and the end of yⱼ's product. The sum follows
 * sᵢ = dyᵢ + xᵢ₊₁·sᵢ₊₁; where yⱼ leaves out xⱼ, it is the next element's sᵢ = dyᵢ + xᵢ·sᵢ₊₁.
 */
function runningProductGradient(context: RuleContext, dy: Typed, g: Emit): Typed {
  const x = context.input(0);
  const axis = axisOf(context);
  const { reverse, exclusive } = flags(context);
  const [direction, back] = reverse ? (["backward", "forward"] as const) : (["forward", "backward"] as const);
  const next = (values: Typed) => shifted(g, values, axis, { by: 1, direction: back, fill: 0 });
  const sums = exclusive
    ? next(recurrence(g, x, dy, axis, direction))
    : recurrence(g, next(x), dy, axis, direction);
  return g.mul(productsBefore(g, x, axis, direction), sums);
}

const along = (axis: number, type: "int32" | "int64" = "int64"): SampleInput => ({
  shape: [],
  constant: [axis],
  type,
});
const both = { reverse: int(1), exclusive: int(1) };
const samples = (opset: number, shape: (...dims: number[]) => SampleInput): [Sample, ...Sample[]] => [
  { inputs: [shape(2, 4), along(1)], opset },
  { inputs: [shape(3, 2), along(-2, "int32")], opset },
  { inputs: [shape(2, 4), along(1)], attributes: { reverse: int(1) }, opset },
  { inputs: [shape(2, 4), along(1)], attributes: { exclusive: int(1) }, opset },
  { inputs: [shape(2, 3, 2), along(1)], attributes: both, opset },
  { inputs: [shape(0, 3), along(0)], opset, note: "empty" },
];

export const scans = {
  // The gradient is a running sum from the other end.
  CumSum: {
    vjp: (context, dy, g) => {
      const { reverse, exclusive } = flags(context);
      return [() => g.cumSum(dy, axisOf(context), { reverse: !reverse, exclusive }), null];
    },
    samples: samples(18, (...dims) => dims),
    linear: true,
  },
  CumProd: {
    vjp: (context, dy, g) => [() => runningProductGradient(context, dy, g), null],
    samples: [
      ...samples(26, (...shape) => ({ shape, range: [0.5, 1.5] })),
      { inputs: [{ shape: [4], range: [0, 0] }, along(0)], opset: 26, note: "zeros" },
      { inputs: [[1], along(0)], opset: 26, note: "one" },
    ],
  },
} satisfies RuleTable;
