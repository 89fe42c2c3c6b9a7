import { Emit } from "../../src/graph/emit.ts";
import type { Graph } from "../../src/graph/graph.ts";
import type { PassContext } from "../../src/passes/pass.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";

/** The context for a pass that runs on a graph alone; names of emitted values begin with `t/`. */
export const passContext = (graph: Graph, given: Partial<PassContext> = {}): PassContext => ({
  emit: new Emit(graph, { prefix: "t/" }),
  probe: nodeProbe,
  ...given,
});
