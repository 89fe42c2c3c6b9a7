import { inferShapes } from "../../analysis/infer.ts";
import { capturedNames } from "../../graph/bodies.ts";
import { bodyFromGraph, bodyOf, graphOfBody } from "../../graph/body-graph.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { foldConstants } from "../cleanup/fold-constants.ts";
import { changed, type Pass, type PassContext, type PassResult, runPasses, unchanged } from "../pass.ts";
import { bodyContext } from "./body-context.ts";
import type { ExpandOptions } from "./expand-options.ts";
import { Inliner } from "./inliner.ts";
import { resolveSequences } from "./resolve-sequences.ts";
import { takeBranches } from "./take-branches.ts";
import { unrollLoops } from "./unroll-loops.ts";

/** The two bodies of an If. */
export const branchNames = ["then_branch", "else_branch"] as const;

/** Options of {@link expandInRounds}. */
interface RoundOptions extends ExpandOptions {
  /** The whole pass, for a branch. */
  readonly inner: (options: ExpandOptions) => Pass<unknown>;
}

/** Expands bodies and sequences round by round, as `expandBodies` says. */
export async function expandInRounds(
  graph: Graph,
  { dimensions, keep, external, inner }: RoundOptions,
  context: PassContext,
): Promise<PassResult> {
  const inliner = new Inliner(graph, external);
  const seen = new Set<Node>();
  let any = false;
  const run = async (...passes: Parameters<typeof runPasses>[0]): Promise<boolean> => {
    const did = await runPasses(passes, graph, context);
    any ||= did;
    return did;
  };
  for (let again = true; again; ) {
    await run(takeBranches({ inliner, keep }));
    await inferShapes(graph, context.probe, dimensions);
    await run(foldConstants({ keep }));
    again = await run(
      takeBranches({ inliner, keep }),
      unrollLoops({ inliner, keep }),
      resolveSequences({ inliner }),
    );
    // Bodies inside the branches may be the reason why the shapes behind them are not known.
    if (!again) again = await expandBranches(graph, { dimensions: {}, keep, external, inner }, context, seen);
    any ||= again;
  }
  return any
    ? changed("bodies and sequences, as far as no data decides them")
    : unchanged(obstaclesOf(graph));
}

/** Why bodies stay. */
function obstaclesOf({ nodes }: Graph): string {
  const texts = nodes.flatMap(({ op, label, obstacle }) => (obstacle ? `${op} "${label}": ${obstacle}` : []));
  return texts.join("; ") || "data decides every branch";
}

/** Expands the branches of Ifs that stay, once the shapes of what they read are known. @returns whether any changed */
async function expandBranches(
  graph: Graph,
  { inner, ...options }: RoundOptions,
  context: PassContext,
  seen: Set<Node>,
): Promise<boolean> {
  let found = false;
  for (const node of graph.nodes) {
    if (node.op !== "If" || seen.has(node) || unknownCapture(node)) continue;
    seen.add(node);
    for (const name of branchNames) {
      const branch = graphOfBody(node, name, { outer: graph, external: options.external });
      if (!(await runPasses([inner(options)], branch, bodyContext(branch, context)))) continue;
      const captured = capturedNames(bodyOf(node, name));
      graph.setBodies(node, new Map([[name, bodyFromGraph(branch, captured)]]));
      found = true;
    }
  }
  return found;
}

/** Why the branches of an If cannot be taken as graphs of their own. */
export function unknownCapture(node: Node): string | undefined {
  const unknown = node.captures.find(({ type, shape }) => !type || !shape);
  return unknown && `its branches read "${unknown.name}", whose shape is not known or which is no tensor`;
}
