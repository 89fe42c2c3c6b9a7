import { SorthError } from "../../errors.ts";
import { bodiesOf, capturedNames } from "../../graph/bodies.ts";
import { bodyFromGraph, graphOfBody } from "../../graph/body-graph.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import type { onnx } from "../../onnx/schema.js";
import { changed, defineGraphPass, unchanged } from "../pass.ts";
import { changes } from "./operator-changes.ts";

/** Files below this opset are refused: their forms differ in ways that no exporter of the last years writes. */
const oldest = 7;

/**
 * Raises a graph's opset so that gradients may use the forms of `target`; a newer graph stays as it is. Nodes whose operator
 * changed on the way are rewritten in place, those in bodies (of If, Loop, Scan) too; names of outputs stay.
 * With types and shapes inferred, what it writes is shorter below opset 13.
 *
 *     y = Squeeze(x) {axes=[1]}, opset 11  →  y = Squeeze(x, [1]), opset 18
 *
 * @throws SorthError naming the node that cannot be raised, and why
 * @example
 * await inferShapes(graph, nodeProbe);
 * runGraphPass(raiseOpset(), graph);
 */
export const raiseOpset = defineGraphPass({
  name: "raise-opset",
  options: {
    /** The opset to raise to, at most 21. */
    target: 18,
  },
  run(graph, { target }) {
    const from = graph.opset;
    if (from >= target) return unchanged(`the graph is in opset ${from}, no older than ${target}`);
    raise(graph, target);
    return changed(`opset ${from} to ${target}`);
  },
});

function raise(graph: Graph, target: number): void {
  const from = graph.opset;
  const standard = graph.nodes.filter(({ domain }) => domain === "");
  if (standard.length > 0 && from < oldest) {
    throw new SorthError(
      `the model is written in opset ${from}, which is too old: export it with opset ${oldest} or above`,
    );
  }
  for (const node of standard) {
    raiseBodies(graph, node, target);
    for (const { since, adapt } of changes[node.opType] ?? []) {
      if (from >= since || since > target) continue;
      const problem = adapt(graph, node);
      if (problem) throw refusal(node, from, target, problem);
    }
  }
  graph.opsets.set("", target);
}

function refusal(node: Node, from: number, target: number, problem: string): SorthError {
  return new SorthError(
    `${node.op} node "${node.label}" cannot be raised from opset ${from} to ${target}: ${problem}; export the model with opset ${target}`,
  );
}

/** Raises the bodies of a node that hold an operator whose form changed; others stay as the file has them. */
function raiseBodies(graph: Graph, node: Node, target: number): void {
  const raised = new Map<string, onnx.GraphProto>();
  for (const [name, attribute] of node.attributes) {
    if (attribute.kind !== "graph" || !changesIn(attribute.value, graph.opset, target)) continue;
    const body = graphOfBody(node, name, { outer: graph });
    raise(body, target);
    raised.set(name, bodyFromGraph(body, capturedNames(attribute.value)));
  }
  if (raised.size > 0) graph.setBodies(node, raised);
}

/** Whether a body, or one inside it, holds an operator whose form changed. */
function changesIn(body: onnx.GraphProto.$Properties, from: number, target: number): boolean {
  return (body.node ?? []).some(
    (node) =>
      (!node.domain && changes[node.opType ?? ""]?.some(({ since }) => from < since && since <= target)) ||
      bodiesOf(node).some((inner) => changesIn(inner, from, target)),
  );
}
