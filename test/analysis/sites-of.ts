import { inferShapes } from "../../src/analysis/infer.ts";
import { findSites } from "../../src/analysis/sites.ts";
import type { Value } from "../../src/graph/node.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** Makes the output of a graph from its input x. */
export type Build = (b: GraphBuilder, x: Value) => Value;

/** The sites of a graph of which `build` makes the output from the input x, probed with a batch of 5. */
export async function sitesOf(input: readonly (number | string)[], build: Build, opset = 18) {
  const b = new GraphBuilder(opset);
  b.output(build(b, b.input("x", input)));
  await inferShapes(b.graph, nodeProbe, input.includes("N") ? { batch: 5 } : {});
  return findSites(b.graph);
}
