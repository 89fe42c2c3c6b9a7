import { inferShapes } from "../../src/analysis/infer.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";

/** A graph whose shapes are known. */
export async function inferred(graph: Graph): Promise<Graph> {
  await inferShapes(graph, nodeProbe, {});
  return graph;
}
