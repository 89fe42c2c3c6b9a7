import { SorthError } from "../../errors.ts";
import { int, string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import type { RuleContext, RuleTable } from "../rule.ts";

const classes = (shape: number[], ...values: number[]) => ({ shape, constant: values });
const classWeights = { shape: [3], constant: [0.5, 2, 1], type: "float" as const };

/** 1 at each row's class and 0 elsewhere: labels [N, …] → [N, C, …]. */
export function oneHot(g: Emit, labels: Typed, scores: Typed): Typed {
  const classAxis = scores.shape.map((dim, axis) => (axis === 1 ? dim : 1));
  const ids = g.reshape(g.iota(dimAt(scores.shape, 1)), classAxis);
  return g.indicator(g.equal(g.unsqueeze(g.cast(labels, "int32"), [1]), ids), scores.type);
}

/** dy of each row, [N, 1, …]; for the reduction "mean" divided by the sum of the rows' weights. */
function rowGradient(context: RuleContext, g: Emit, dy: Typed, rowWeights: Typed): Typed {
  const reduction = context.node.string("reduction", "mean");
  if (reduction === "none") return g.mul(g.unsqueeze(dy, [1]), rowWeights);
  const share = reduction === "sum" ? dy : g.div(dy, g.reduceSum(rowWeights));
  return g.mul(rowWeights, share);
}

/** Weight of each row, [N, 1, …]: the weight of its class, or 0 for the ignored class. */
export function weightsOfRows(
  { node, inputs }: Pick<RuleContext, "node" | "inputs">,
  g: Emit,
  hot: Typed,
): Typed {
  const [, labels, weights] = inputs;
  const scale = hot.shape.map((dim, axis) => (axis === 1 ? dim : 1));
  const weighted = weights ? g.mul(hot, g.reshape(weights, scale)) : hot;
  const rows = g.reduceSum(weighted, [1], true);
  const ignored = node.attributes.get("ignore_index");
  if (ignored?.kind !== "int" || !labels) return rows;
  const left = g.equal(g.unsqueeze(g.cast(labels, "int32"), [1]), ignored.value);
  return g.mul(rows, g.sub(1, g.indicator(left, rows.type)));
}

/** Class weights are settings, as in PyTorch: asking for their gradient is an error, not silently zero. */
const refusedWeights =
  ({ node }: RuleContext) =>
  () => {
    throw new SorthError(
      `cannot differentiate ${node.op} (node "${node.label}") with respect to its class weights: freeze them`,
    );
  };

export const losses = {
  // −w_c·log softmax(x)_c by row: dx = w_c(softmax(x) − onehot)·dy; through log_prob: dx = dp − softmax(x)·Σdp
  SoftmaxCrossEntropyLoss: {
    vjp: (context, dy, g) => [
      () => {
        const scores = context.input(0);
        const exponents = g.exp(g.sub(scores, g.reduceMax(scores, [1], true)));
        const softmax = g.div(exponents, g.reduceSum(exponents, [1], true));
        const hot = oneHot(g, context.input(1), scores);
        const rows = rowGradient(context, g, dy, weightsOfRows(context, g, hot));
        const dx = g.mul(g.sub(softmax, hot), rows);
        const logarithm = context.gradient(1);
        if (!logarithm) return dx;
        return g.add(dx, g.sub(logarithm, g.mul(softmax, g.reduceSum(logarithm, [1], true))));
      },
      null,
      refusedWeights(context),
    ],
    samples: [
      { inputs: [[4, 3], classes([4], 0, 2, 1, 2)] },
      { inputs: [[4, 3], classes([4], 0, 2, 1, 2)], outputs: 2, note: "log_prob" },
      { inputs: [[4, 3], classes([4], 0, 2, 1, 2), classWeights], attributes: { ignore_index: int(2) } },
      {
        inputs: [[2, 3, 2], classes([2, 2], 0, 2, 1, 1), classWeights],
        attributes: { reduction: string("none") },
      },
      { inputs: [[4, 3], classes([4], 0, 2, 1, 2)], attributes: { reduction: string("sum") } },
      {
        inputs: [[4, 3], classes([4], 0, 2, -1, 2)],
        attributes: { ignore_index: int(-1) },
        note: "label −1",
      },
      {
        inputs: [[2, 3, 2, 2], classes([2, 2, 2], 0, 2, 1, 1, 2, 2, 0, 1), classWeights],
        attributes: { ignore_index: int(1) },
        outputs: 2,
        note: "image, log_prob",
      },
      {
        inputs: [[2, 3, 2], classes([2, 2], 0, -100, 1, 1)],
        attributes: { ignore_index: int(-100), reduction: string("sum") },
        note: "label −100",
      },
      {
        inputs: [[3, 3], { ...classes([3], 0, 2, 1), type: "int32" }, classWeights],
        attributes: { reduction: string("none") },
        outputs: 2,
        note: "int32 labels, log_prob",
      },
    ],
  },
  // −w_c·x_c by row
  NegativeLogLikelihoodLoss: {
    vjp: (context, dy, g) => [
      () => {
        const hot = oneHot(g, context.input(1), context.input(0));
        return g.neg(g.mul(hot, rowGradient(context, g, dy, weightsOfRows(context, g, hot))));
      },
      null,
      refusedWeights(context),
    ],
    samples: [
      { inputs: [[4, 3], classes([4], 0, 2, 1, 2)] },
      {
        inputs: [[2, 3, 2], classes([2, 2], 0, 2, 1, 1), classWeights],
        attributes: { ignore_index: int(1) },
      },
      { inputs: [[4, 3], classes([4], 0, 2, 1, 2)], attributes: { reduction: string("none") } },
      { inputs: [[4, 3], classes([4], 0, 2, 1, 2), classWeights], attributes: { reduction: string("sum") } },
      {
        inputs: [[1, 3, 2, 2], classes([1, 2, 2], 0, -1, 1, 2), classWeights],
        attributes: { ignore_index: int(-1) },
        note: "image, label −1",
      },
    ],
    linear: true,
  },
  // The inference form is the identity. A pass rewrites the training form with a mask input before differentiation.
  Dropout: {
    vjp: (context, dy) => {
      const training = context.constant(2)?.[0] ?? 0;
      if (training && (context.constant(1)?.[0] ?? 0.5) > 0) {
        throw new SorthError(
          `cannot differentiate Dropout (node "${context.node.label}") in training mode: its mask is random`,
        );
      }
      return [() => dy, null, null];
    },
    samples: [
      { inputs: [[2, 3]] },
      {
        inputs: [
          [2, 3],
          { shape: [], constant: [0.3], type: "float" },
          { shape: [], constant: [0], type: "bool" },
        ],
      },
    ],
    linear: true,
  },
} satisfies RuleTable;
