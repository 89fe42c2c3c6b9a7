import { inferShapes } from "../../analysis/infer.ts";
import type { Probe } from "../../analysis/probe.ts";
import { rankOf } from "../../analysis/transposed-times-vector.ts";
import type { Graph } from "../../graph/graph.ts";
import { runGraphPass } from "../pass.ts";
import { attentionBias } from "./attention-bias.ts";
import { exactProducts } from "./exact-products.ts";
import { stillStatistics } from "./still-statistics.ts";
import { vectorProducts } from "./vector-products.ts";

/**
 * Brings operators that ONNX Runtime computes wrongly in some form into another one with the same results (docs/runtime-faults.md).
 * @param final - whether the graph's outputs are those that a run asks for; default true. Otherwise running statistics may still
 * become outputs, and nothing is decided about them.
 */
export function sidestepFaults(graph: Graph, { final = true } = {}): void {
  const passes = [exactProducts(), attentionBias(), vectorProducts(), ...(final ? [stillStatistics()] : [])];
  for (const pass of passes) runGraphPass(pass, graph);
}

/** The same for a graph whose shapes are not known yet: they tell which operands are vectors. */
export async function sidestepFaultsOf(graph: Graph, probe: Probe, batch: number): Promise<void> {
  const hidden = graph.nodes.some(({ op, inputs: [left, right] }) => {
    const transpose = left?.producer;
    if (op !== "MatMul" || transpose?.op !== "Transpose") return false;
    const ranks = [right, ...(transpose.attributes.has("perm") ? [] : [transpose.inputs[0]])].map(rankOf);
    return ranks.includes(undefined);
  });
  if (hidden) await inferShapes(graph, probe, { batch, open: true });
  sidestepFaults(graph);
}
