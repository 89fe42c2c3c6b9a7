import type { DimensionOptions } from "../../analysis/dimensions.ts";
import { inferShapes } from "../../analysis/infer.ts";
import { capturedNames } from "../../graph/bodies.ts";
import { bodyFromGraph, bodyOf, graphOfBody } from "../../graph/body-graph.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import type { ExternalReader } from "../../onnx/tensor.ts";
import { foldConstants } from "../cleanup/fold-constants.ts";
import { changed, definePass, type PassContext, runPasses, unchanged } from "../pass.ts";
import { bodyContext } from "./body-context.ts";
import { Inliner } from "./inliner.ts";

/** Options of {@link expandBodies}. */
export interface ExpandOptions {
  /** Sizes of the graph's free dimensions. */
  readonly dimensions: DimensionOptions;
  /** Names of parameters: a value that is computed from them is no constant. */
  readonly keep: ReadonlySet<string>;
  /** Reads tensors of bodies that lie in other files. */
  readonly external?: ExternalReader | undefined;
}

/** The defaults of {@link ExpandOptions}. */
export const expandOptions: ExpandOptions = { dimensions: {}, keep: new Set() };

/** The two bodies of an If. */
export const branchNames = ["then_branch", "else_branch"] as const;

/** The operators that {@link expandBodies} replaces. */
const expandable =
  /^(If|Loop|Scan|Sequence(Construct|Empty|At|Insert|Erase|Length|Map)|SplitToSequence|ConcatFromSequence|Optional(GetElement|HasElement)?)$/;

/** Whether a graph holds bodies or sequences. */
export const hasBodies = (graph: Graph): boolean =>
  graph.nodes.some(({ domain, opType }) => domain === "" && expandable.test(opType));

/**
 * Replaces bodies and sequences by plain operators: a Loop whose number of trips does not depend on data, a Scan, the
 * branch that a constant condition chooses, sequences whose positions are constant. Each round takes one level of nesting
 * and asks ONNX Runtime for shapes, from which trip counts and positions are computed. A node that has to stay keeps the
 * reason as its `obstacle`; an If on data stays without one, since it has a derivative.
 * Every output keeps its numbers.
 *
 *     y = Loop(2, true, x) {y = Tanh(x)}  →  h = Tanh(x); y = Tanh(h)
 *
 * @throws SorthError when the graph grows past 200,000 nodes
 * @example
 * const pass = expandBodies({ dimensions: { batch: 8 }, keep: new Set(["rnn.weight"]) });
 * await runPass(pass, graph, { emit, probe: nodeProbe });
 */
export const expandBodies = definePass({
  name: "expand-bodies",
  options: expandOptions,
  async run(graph, { dimensions, keep, external }, context) {
    if (!hasBodies(graph)) return unchanged("the graph holds no bodies and no sequences");
    // A page that trains a model without bodies does not load them.
    const [{ takeBranches }, { unrollLoops }, { resolveSequences }] = await Promise.all([
      import("./take-branches.ts"),
      import("./unroll-loops.ts"),
      import("./resolve-sequences.ts"),
    ]);
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
      if (!again) again = await expandBranches(graph, { dimensions: {}, keep, external }, context, seen);
      any ||= again;
    }
    return any
      ? changed("bodies and sequences, as far as no data decides them")
      : unchanged(obstaclesOf(graph));
  },
});

/** Why bodies stay. */
function obstaclesOf({ nodes }: Graph): string {
  const texts = nodes.flatMap(({ op, label, obstacle }) => (obstacle ? `${op} "${label}": ${obstacle}` : []));
  return texts.join("; ") || "data decides every branch";
}

/** Expands the branches of Ifs that stay, once the shapes of what they read are known. @returns whether any changed */
async function expandBranches(
  graph: Graph,
  options: ExpandOptions,
  context: PassContext,
  seen: Set<Node>,
): Promise<boolean> {
  let found = false;
  for (const node of graph.nodes) {
    if (node.op !== "If" || seen.has(node) || unknownCapture(node)) continue;
    seen.add(node);
    for (const name of branchNames) {
      const branch = graphOfBody(node, name, { outer: graph, external: options.external });
      if (!(await runPasses([expandBodies(options)], branch, bodyContext(branch, context)))) continue;
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
