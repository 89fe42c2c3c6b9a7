import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Node } from "../graph/node.ts";
import type { Rule, Sample } from "./rule.ts";

type Local = (g: Emit, x: Typed, y: Typed, node: Node) => Typed;

/** The two edge cases: rank 0, and an empty tensor. */
const edges = (first: Sample): Sample[] => [
  { ...first, inputs: [[]], note: "scalar" },
  { ...first, inputs: [[0, 3]], note: "empty" },
];

/** The rule of an elementwise y = f(x), given its local derivative f′(x): dx = dy · f′(x). */
export function unary(derivative: Local, ...samples: Sample[]): Rule {
  const [first = { inputs: [[2, 3]] }, ...rest] = samples;
  return {
    vjp: (context, dy, g) => [
      () => g.mul(dy, derivative(g, context.input(0), context.output(0), context.node)),
    ],
    samples: [first, ...rest, ...edges(first)],
  };
}

/** Like {@link unary}, for derivatives that include dy themselves: dx = f(dy, x, y). */
export function unaryFrom(
  derivative: (g: Emit, dy: Typed, x: Typed, y: Typed, node: Node) => Typed,
  ...samples: Sample[]
): Rule {
  const [first = { inputs: [[2, 3]] }, ...rest] = samples;
  return {
    vjp: (context, dy, g) => [() => derivative(g, dy, context.input(0), context.output(0), context.node)],
    samples: [first, ...rest, ...edges(first)],
  };
}

/** Pairs of shapes on which the tests check every broadcasting rule. */
export const broadcastSamples: [Sample, ...Sample[]] = [
  {
    inputs: [
      [2, 3],
      [2, 3],
    ],
  },
  { inputs: [[2, 3], [3]], note: "row" },
  {
    inputs: [
      [2, 1],
      [4, 1, 3],
    ],
    note: "both ways",
  },
  { inputs: [[], [4]], note: "scalar" },
  { inputs: [[0, 3], [3]], note: "empty" },
];

/** Samples that stay away from 0, where |x| and similar functions have a kink. */
export const bothSides: readonly [Sample, ...Sample[]] = [
  { inputs: [[2, 3]], range: [0.1, 1] },
  { inputs: [[2, 3]], range: [-1, -0.1] },
];
