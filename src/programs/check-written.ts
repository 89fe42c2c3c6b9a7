import type { Probe } from "../analysis/probe.ts";
import { probeModel } from "../analysis/probe-model.ts";
import { messageOf, SorthError } from "../errors.ts";
import { checkGraph } from "../graph/check.ts";
import type { Graph } from "../graph/graph.ts";

/**
 * Checks a graph that is about to be written: it is sound, and ONNX Runtime opens it on the CPU. Large constants are not
 * part of the copy that is opened.
 * @throws SorthError with what is wrong
 */
export async function checkWritten(graph: Graph, probe: Probe): Promise<void> {
  checkGraph(graph);
  const inputs = new Map(graph.inputs.map((value) => [value, value.shape ?? []] as const));
  try {
    await probe.outputs(probeModel(graph, inputs, { values: graph.outputs }));
  } catch (error) {
    throw new SorthError(`nothing is written: the graph would not run on the CPU: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
