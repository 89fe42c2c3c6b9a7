import { inferShapes } from "../../analysis/infer.ts";
import { capturedNames } from "../../graph/bodies.ts";
import { bodyFromGraph, bodyOf, graphOfBody } from "../../graph/body-graph.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { sameShape, shapeText } from "../../graph/shapes.ts";
import { foldConstants } from "../cleanup/fold-constants.ts";
import { raiseOpset } from "../opset/raise-opset.ts";
import { type Pass, type PassContext, runGraphPass, runPass } from "../pass.ts";
import { bodyContext } from "./body-context.ts";
import type { ExpandOptions } from "./expand-options.ts";
import { branchNames, unknownCapture } from "./expansion-rounds.ts";

/** How branches are raised. */
interface RaiseOptions extends ExpandOptions {
  readonly target: number;
  /** Raises a branch, whatever it holds. */
  readonly inner: Pass;
}

/** Raises a graph that holds If nodes, and their branches. `raiseWithBranches` documents it. */
export async function raiseBranches(
  graph: Graph,
  conditionals: readonly Node[],
  options: RaiseOptions,
  context: PassContext,
): Promise<void> {
  const opsets = new Map(graph.opsets);
  // The outer graph is raised without bodies: those are raised on their own, with their shapes known.
  const bodies = new Map(conditionals.map((node) => [node, new Map(node.attributes)]));
  for (const node of conditionals) for (const name of branchNames) node.attributes.delete(name);
  runGraphPass(raiseOpset({ target: options.target }), graph);
  for (const [node, attributes] of bodies) {
    for (const [name, attribute] of attributes) node.attributes.set(name, attribute);
  }
  for (const node of conditionals) {
    node.obstacle = unknownCapture(node);
    if (node.obstacle) continue;
    const branches: Graph[] = [];
    for (const name of branchNames) {
      const branch = graphOfBody(node, name, { outer: graph, opsets, external: options.external });
      await prepare(branch, { ...options, dimensions: {} }, bodyContext(branch, context));
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

async function prepare(branch: Graph, options: RaiseOptions, context: PassContext): Promise<void> {
  const infer = () => inferShapes(branch, context.probe, options.dimensions);
  if (branch.opset < 13 || branch.nodes.some(({ op }) => op === "If")) await infer();
  await runPass(options.inner, branch, context);
  await infer();
  await runPass(foldConstants({ keep: options.keep }), branch, context);
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
