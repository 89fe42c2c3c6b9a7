import { inferShapes } from "../../analysis/infer.ts";
import type { Probe } from "../../analysis/probe.ts";
import { capturedNames } from "../../graph/bodies.ts";
import { bodyFromGraph, bodyOf, graphOfBody } from "../../graph/body-graph.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { sameShape, shapeText } from "../../graph/shapes.ts";
import { foldConstants } from "../cleanup/fold-constants.ts";
import { raiseOpset } from "../opset/adapters.ts";
import { branchNames, type ExpandOptions, unknownCapture } from "./expand.ts";

/**
 * Raises an expanded graph's opset, the branches of every If included: each is taken as a graph of its own with what it
 * captures as inputs, raised, and its shapes are inferred and written into it, where the derivative finds them.
 * An If that cannot have a derivative keeps the reason as its `obstacle`.
 * @param graph - from expandBodies: where it holds an If, shapes are known
 * @throws SorthError naming the node that cannot be raised, and why
 */
export async function raiseWithBranches(
  graph: Graph,
  target: number,
  probe: Probe,
  options: ExpandOptions,
): Promise<void> {
  const conditionals = graph.nodes.filter(({ op }) => op === "If");
  const opsets = new Map(graph.opsets);
  // The outer graph is raised without bodies: those are raised on their own, with their shapes known.
  const bodies = new Map(conditionals.map((node) => [node, new Map(node.attributes)]));
  for (const node of conditionals) for (const name of branchNames) node.attributes.delete(name);
  raiseOpset(graph, target);
  for (const [node, attributes] of bodies) {
    for (const [name, attribute] of attributes) node.attributes.set(name, attribute);
  }
  for (const node of conditionals) {
    node.obstacle = unknownCapture(node);
    if (node.obstacle) continue;
    const branches: Graph[] = [];
    for (const name of branchNames) {
      const branch = graphOfBody(node, name, { outer: graph, opsets, external: options.external });
      await prepare(branch, target, probe, options);
      branches.push(branch);
    }
    const prepared = branchNames.map((name, i) => {
      const captured = capturedNames(bodyOf(node, name));
      return [name, bodyFromGraph(branches[i] as Graph, captured)] as const;
    });
    graph.setBodies(node, new Map(prepared));
    node.obstacle = differenceOf(node, branches);
  }
}

async function prepare(branch: Graph, target: number, probe: Probe, options: ExpandOptions): Promise<void> {
  if (branch.opset < 13 || branch.nodes.some(({ op }) => op === "If")) await inferShapes(branch, probe, {});
  await raiseWithBranches(branch, target, probe, { ...options, dimensions: {} });
  await inferShapes(branch, probe, {});
  await foldConstants(branch, probe, { keep: options.keep });
}

/** Why the results of two branches have no derivative in common. */
function differenceOf(node: Node, branches: readonly Graph[]): string | undefined {
  const [first, second] = branches.map((branch) => branch.outputs);
  for (const [index, output] of node.outputs.entries()) {
    const [a, b] = [first?.[index], second?.[index]];
    if (!output || !a || !b) continue;
    if (!a.type || !b.type || !a.shape || !b.shape) {
      return `output ${index} of its branches has no known shape, or is no tensor`;
    }
    if (!sameShape(a.shape, b.shape)) {
      return `its branches give different shapes, ${shapeText(a.shape)} and ${shapeText(b.shape)}`;
    }
  }
  return undefined;
}
