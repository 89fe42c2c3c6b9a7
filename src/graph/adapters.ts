import { SorthError } from "../errors.ts";
import type { onnx } from "../onnx/schema.js";
import type { Graph } from "./graph.ts";
import type { Node } from "./node.ts";
import { changes } from "./operator-changes.ts";

/** Files below this opset are refused: their forms differ in ways that no exporter of the last years writes. */
const oldest = 7;

/**
 * Raises a graph's opset so that gradients may use the forms of `target` (at most 18); a newer graph stays as it is.
 * Nodes whose operator changed on the way are rewritten in place, names of outputs stay. Below opset 13 types and shapes
 * must have been inferred.
 * @throws SorthError naming the node that cannot be raised, and why
 *
 * @example
 * await inferShapes(graph, nodeProbe);
 * raiseOpset(graph, 18);
 */
export function raiseOpset(graph: Graph, target: number): void {
  const from = graph.opset;
  if (from >= target) return;
  const standard = graph.nodes.filter(({ domain }) => domain === "");
  if (standard.length > 0 && from < oldest) {
    throw new SorthError(
      `the model is written in opset ${from}, which is too old: export it with opset ${oldest} or above`,
    );
  }
  for (const node of standard) {
    const change = changedInside(node, from, target);
    if (change) throw refusal(node, from, target, `${change} inside its body changed its form`);
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

/** An operator inside the bodies of a node that would have to be rewritten: bodies stay as they are. */
function changedInside(node: Node, from: number, target: number): string | undefined {
  const bodies = [...node.attributes.values()].flatMap((a) => (a.kind === "graph" ? [a.value] : []));
  return bodies.map((body) => changedIn(body, from, target)).find((change) => change);
}

function changedIn(body: onnx.GraphProto.$Properties, from: number, target: number): string | undefined {
  for (const { opType, name, domain, attribute } of body.node ?? []) {
    const changed = changes[opType ?? ""]?.some(({ since }) => from < since && since <= target);
    if (changed && !domain) return `${opType} "${name}"`;
    for (const { g } of attribute ?? []) {
      const inner = g && changedIn(g, from, target);
      if (inner) return inner;
    }
  }
  return undefined;
}
