import { inferShapes } from "../../analysis/infer.ts";
import type { Probe } from "../../analysis/probe.ts";
import type { Graph } from "../../graph/graph.ts";
import type { ExternalReader } from "../../onnx/tensor.ts";
import { liftConstants } from "../cleanup/fold-constants.ts";
import { type ShareOptions, splitShared } from "../cleanup/split-shared.ts";
import { type Copy, tieCopies } from "../cleanup/tie-copies.ts";
import { liftBodyConstants } from "./body-constants.ts";
import { raiseWithBranches } from "./branches.ts";
import { type ExpandOptions, expandBodies } from "./expand.ts";
import { inlineFunctions } from "./functions.ts";

/**
 * Brings every constant that could be trained to the graph's surface, as an initializer: out of functions, bodies and
 * Constant nodes; shared ones are split, copies tied. Training and export do the same, so that names are the same in both.
 * @returns the copies, which are computed now
 */
export function liftParameters(graph: Graph, options: ShareOptions, external?: ExternalReader): Copy[] {
  inlineFunctions(graph, external);
  liftBodyConstants(graph, external);
  liftConstants(graph);
  const copies = tieCopies(graph, options);
  splitShared(graph, options);
  return copies;
}

/**
 * Writes bodies out and raises the opset: afterwards the only bodies that a gradient can pass are the branches of an If.
 * @param graph - from {@link liftParameters}
 * @throws SorthError when the graph grows too large, or a node cannot be raised
 */
export async function expandModel(
  graph: Graph,
  target: number,
  probe: Probe,
  options: ExpandOptions,
): Promise<void> {
  await expandBodies(graph, probe, options);
  // The old form of Softmax can be told from the new one only where ranks are known.
  if (graph.opset < 13) await inferShapes(graph, probe, options.dimensions);
  await raiseWithBranches(graph, target, probe, options);
}
