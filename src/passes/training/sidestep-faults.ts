import type { Graph } from "../../graph/graph.ts";
import { runGraphPass } from "../pass.ts";
import { attentionBias } from "./attention-bias.ts";
import { exactProducts } from "./exact-products.ts";
import { stillStatistics } from "./still-statistics.ts";

/**
 * Brings operators that ONNX Runtime computes wrongly in some form into another one with the same results (docs/runtime-faults.md).
 * @param final - whether the graph's outputs are those that a run asks for; default true. Otherwise running statistics may still
 * become outputs, and nothing is decided about them.
 */
export function sidestepFaults(graph: Graph, { final = true } = {}): void {
  const passes = [exactProducts(), attentionBias(), ...(final ? [stillStatistics()] : [])];
  for (const pass of passes) runGraphPass(pass, graph);
}
