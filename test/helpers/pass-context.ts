import { Emit } from "../../src/graph/emit.ts";
import type { Graph } from "../../src/graph/graph.ts";
import type { PassContext } from "../../src/passes/pass.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";

/** What a pass gets that runs on a graph alone; what it emits is named `t/…`. */
export const passContext = (graph: Graph, given: Partial<PassContext> = {}): PassContext => ({
  emit: new Emit(graph, { prefix: "t/" }),
  probe: nodeProbe,
  ...given,
});
