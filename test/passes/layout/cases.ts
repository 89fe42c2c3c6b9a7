import { rowsLayout } from "../../../src/passes/layout/rows-layout.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import type { Makers } from "../pass-case.ts";
import { allOnRows } from "./both-layouts.ts";

/** Small graphs for the passes of src/passes/layout. */
export const layoutCases = {
  rowsLayout: async () => {
    const b = new GraphBuilder();
    const c = b.op("Conv", [b.input("x", [2, 3, 4, 4]), b.weight("w", [5, 3, 3, 3])], "c", {
      strides: [2, 2],
      pads: [1, 1, 1, 1],
    });
    const p = b.op("Conv", [b.op("Relu", [c], "r"), b.weight("v", [6, 5, 1, 1]), b.weight("b", [6])], "p");
    const graph = await inferred(b.output(b.op("Neg", [p], "y")));
    return { graph, pass: rowsLayout({ costs: allOnRows }) };
  },
} satisfies Makers;
