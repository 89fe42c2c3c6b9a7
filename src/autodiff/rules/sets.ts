import { int } from "../../graph/attribute.ts";
import type { RuleTable, SampleInput } from "../rule.ts";

const largest = (...count: number[]): SampleInput => ({ shape: [1], constant: count });
const distinct = (...shape: number[]): SampleInput => ({ shape, distinct: true });

/** Operators that select by value. */
export const sets = {
  // Scatters dy back to the positions that the second output (indices) names.
  TopK: {
    vjp: (context, dy, g) => [
      () => {
        const x = context.input(0);
        const zeros = g.filled(0, x.shape, x.type);
        return g.scatterElementsAdd(zeros, context.output(1), dy, context.node.int("axis", -1));
      },
      null,
    ],
    samples: [
      { inputs: [distinct(3, 5), largest(2)], outputs: 2 },
      { inputs: [distinct(3, 5), largest(2)], outputs: 2, attributes: { largest: int(0) }, note: "smallest" },
      { inputs: [distinct(3, 5), largest(2)], outputs: 2, attributes: { axis: int(0) } },
      { inputs: [distinct(2, 3, 2), largest(3)], outputs: 2, attributes: { axis: int(-2) }, note: "sort" },
      { inputs: [distinct(3, 5), largest(2)], outputs: 2, attributes: { sorted: int(0) } },
      { inputs: [distinct(5), largest(0)], outputs: 2, note: "none" },
    ],
  },
  Unique: {
    refused: "how many values it finds depends on the data, and gradients need static shapes",
  },
} satisfies RuleTable;
