import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, normalizeAxis } from "../../graph/shapes.ts";
import type { RuleContext, RuleTable, Sample, SampleInput } from "../rule.ts";

const axisOf = (context: RuleContext) =>
  normalizeAxis(context.constant(1)?.[0] ?? 0, context.input(0).shape.length);
const flags = (context: RuleContext) => ({
  reverse: context.node.int("reverse", 0) === 1,
  exclusive: context.node.int("exclusive", 0) === 1,
});

/**
 * dxᵢ = Σⱼ dyⱼ · Π of the other factors of yⱼ. The n running products with factor i left out are taken as one, over
 * [n, …, n, …] elements: right at zeros too, at n times the memory.
 */
function runningProductGradient(context: RuleContext, dy: Typed, g: Emit): Typed {
  const x = context.input(0);
  const axis = axisOf(context);
  const { reverse, exclusive } = flags(context);
  const n = dimAt(x.shape, axis);
  const line = x.shape.map((dim, other) => (other === axis ? dim : 1));
  const [left, position] = [
    g.reshape(g.iota(n), [n, ...line.map(() => 1)]),
    g.reshape(g.iota(n), [1, ...line]),
  ];
  const others = g.where(g.equal(left, position), 1, g.unsqueeze(x, [0]));
  const products = g.cumProd(others, axis + 1, { reverse, exclusive });
  const holds = reverse
    ? g[exclusive ? "less" : "lessOrEqual"](position, left)
    : g[exclusive ? "greater" : "greaterOrEqual"](position, left);
  const terms = g.where(holds, g.mul(products, g.unsqueeze(dy, [0])), 0);
  const sums = g.reduceSum(terms, [axis + 1], false);
  // [n, others…] back to the axis's place.
  const order = allAxes(x.shape.length).slice(1);
  order.splice(axis, 0, 0);
  return g.transpose(sums, order);
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
  // A running sum from the other end.
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
    ],
  },
} satisfies RuleTable;
