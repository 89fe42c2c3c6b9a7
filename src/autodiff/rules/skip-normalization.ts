import { float } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { lazy } from "../lazy.ts";
import type { Rule, RuleContext, RuleTable, SampleInput } from "../rule.ts";
import {
  meanGradient,
  type Normalized,
  reciprocalGradient,
  standardize,
  standardizedGradient,
} from "./standardize.ts";

/** Indices of a fused normalization's inputs after `input` and `skip`. */
interface Parameters {
  readonly scale: number;
  readonly beta?: number;
  readonly bias: number;
  readonly centred: boolean;
}

const normalizedRows = (context: RuleContext, x: Typed, centred: boolean): Normalized => ({
  x,
  axes: [x.shape.length - 1],
  epsilon: context.node.float("epsilon", centred ? 1e-12 : 1e-5),
  centred,
});

/** The rule of y = norm(s)·scale + beta with s = input + skip + bias; s, its mean and r are further outputs. */
function skipNormalization({ scale, beta, bias, centred }: Parameters): Rule["vjp"] {
  return (context, dy, g) => {
    const sum = lazy(() => {
      const known = context.outputs[3];
      if (known) return known;
      const added = g.add(context.input(0), context.input(1));
      const more = context.inputs[bias];
      return more ? g.add(added, more) : added;
    });
    const normalized = lazy(() => normalizedRows(context, sum(), centred));
    const [dMean, dR, dSum] = [1, 2, 3].map((index) => context.gradient(index));
    const gradient = lazy(() =>
      [
        standardizedGradient(g, g.mul(dy, context.input(scale)), normalized()),
        ...(dMean && centred ? [meanGradient(g, dMean, normalized())] : []),
        ...(dR ? [reciprocalGradient(g, dR, normalized())] : []),
        ...(dSum ? [dSum] : []),
      ].reduce((a, b) => g.add(a, b)),
    );
    const thunks: (() => Typed)[] = [gradient, gradient];
    thunks[scale] = () => g.mul(dy, standardize(g, normalized()).unit);
    if (beta !== undefined) thunks[beta] = () => dy;
    thunks[bias] = gradient;
    return thunks;
  };
}

/** Gradient of an embedding table: the gradients of its rows, summed by token. */
const rowsAdded = (g: Emit, table: Typed, tokens: Typed, gradient: Typed) =>
  g.scatterAdd(
    g.filled(0, table.shape, table.type),
    g.unsqueeze(g.cast(tokens, "int64"), [tokens.shape.length]),
    gradient,
  );

/** Gradient of the position table. Without given positions, the tokens of a sequence read its first rows in order. */
function positionsAdded(g: Emit, table: Typed, positions: Typed | null | undefined, gradient: Typed): Typed {
  const [batch = 1, length = 1, width = 1] = gradient.shape;
  if (positions) {
    const whole = g.expand(g.cast(positions, "int64"), [batch, length]);
    return rowsAdded(g, table, whole, gradient);
  }
  const summed = g.reduceSum(gradient, [0]);
  const rest = (table.shape[0] ?? length) - length;
  return rest > 0 ? g.concat([summed, g.filled(0, [rest, width], table.type)], 0) : summed;
}

const tokens = (shape: number[], ...values: number[]): SampleInput => ({
  shape,
  constant: values,
  type: "int32",
});
const words = tokens([2, 3], 0, 1, 2, 2, 1, 1);
const segments = tokens([2, 3], 0, 0, 1, 1, 0, 1);
const skip: SampleInput[] = [
  [2, 3, 4],
  [2, 3, 4],
];
const epsilon = { epsilon: float(0.1) };

export const skipNormalizations = {
  "com.microsoft.SkipLayerNormalization": {
    vjp: skipNormalization({ scale: 2, beta: 3, bias: 4, centred: true }),
    samples: [
      { inputs: [...skip, [4]] },
      { inputs: [...skip, [4], [4], [4]], attributes: epsilon, outputs: 4 },
      { inputs: [[2, 3, 4], [3, 4], [4], [4]], note: "one skip for all samples" },
      { inputs: [[2, 3, 4], [1, 3, 4], [4], null, [4]], outputs: 3, attributes: epsilon, note: "no beta" },
      {
        inputs: [[3, 4], [3, 4], [4]],
        note: "2-D",
      },
    ],
  },
  "com.microsoft.SkipSimplifiedLayerNormalization": {
    vjp: skipNormalization({ scale: 2, bias: 3, centred: false }),
    samples: [
      { inputs: [...skip, [4]] },
      { inputs: [...skip, [4], [4]], attributes: epsilon, outputs: 4 },
      {
        inputs: [[3, 4], [3, 4], [4]],
        note: "2-D",
      },
    ],
  },

  // y = norm(s)·gamma + beta with s = words + positions + segments, looked up in tables by token
  "com.microsoft.EmbedLayerNormalization": {
    vjp: (context, dy, g) => {
      const { inputs } = context;
      const [ids, segmentIds, positionIds] = [context.input(0), inputs[1], inputs[8]];
      const sum = lazy(() => {
        const known = context.outputs[2];
        if (known) return known;
        const [length = 1] = ids.shape.slice(1);
        const positions = positionIds
          ? g.gather(context.input(3), positionIds)
          : g.slice(context.input(3), [{ axis: 0, start: 0, length }]);
        const added = g.add(g.gather(context.input(2), ids), positions);
        return segmentIds ? g.add(added, g.gather(context.input(4), segmentIds)) : added;
      });
      const normalized = lazy(() => normalizedRows(context, sum(), true));
      const dSum = context.gradient(2);
      const gradient = lazy(() => {
        const through = standardizedGradient(g, g.mul(dy, context.input(5)), normalized());
        return dSum ? g.add(through, dSum) : through;
      });
      return [
        null,
        null,
        () => rowsAdded(g, context.input(2), ids, gradient()),
        () => positionsAdded(g, context.input(3), positionIds, gradient()),
        segmentIds ? () => rowsAdded(g, context.input(4), segmentIds, gradient()) : null,
        () => g.mul(dy, standardize(g, normalized()).unit),
        () => dy,
      ];
    },
    samples: [
      { inputs: [words, segments, [4, 5], [3, 5], [2, 5], [5], [5]], outputs: 2 },
      {
        inputs: [words, null, [4, 5], [6, 5], null, [5], [5], tokens([2, 3], 1, 1, 0, 1, 0, 0)],
        attributes: epsilon,
        outputs: 3,
        note: "no segments",
      },
      {
        inputs: [words, segments, [4, 5], [6, 5], [2, 5], [5], [5], null, tokens([1, 3], 4, 1, 1)],
        outputs: 2,
        attributes: epsilon,
        note: "positions",
      },
    ],
  },
} satisfies RuleTable;
