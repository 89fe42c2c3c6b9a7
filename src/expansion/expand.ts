import { foldConstants } from "../analysis/constants.ts";
import type { DimensionOptions } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import { bodyOf } from "../graph/body-graph.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import type { ExternalReader } from "../onnx/tensor.ts";
import { inlineFunctions } from "./functions.ts";
import { Inliner } from "./inliner.ts";
import { resolveSequences } from "./sequences.ts";
import { unrollLoop, unrollScan } from "./unroll.ts";

/** Options of {@link expandBodies}. */
export interface ExpandOptions {
  readonly dimensions: DimensionOptions;
  /** Names of parameters: what is computed from them is no constant. */
  readonly keep: ReadonlySet<string>;
  /** Reads tensors of bodies that lie in other files. */
  readonly external?: ExternalReader | undefined;
}

/** Operators that this module takes apart. */
const expandable =
  /^(If|Loop|Scan|Sequence(Construct|Empty|At|Insert|Erase|Length|Map)|SplitToSequence|ConcatFromSequence|Optional(GetElement|HasElement)?)$/;

/** Whether a graph holds bodies or sequences. */
export const hasBodies = (graph: Graph): boolean =>
  graph.nodes.some(({ domain, opType }) => domain === "" && expandable.test(opType));

/**
 * Writes out what plain operators can say: a Loop whose trips no data decides, a Scan, the branch that a constant
 * condition takes, sequences whose positions are constant. Nested ones come one level a round; each round asks ONNX
 * Runtime for shapes, since trip counts and positions are computed from them. What has to stay keeps its reason as the
 * node's `obstacle`; an If on data stays without one: it has a derivative.
 * The numbers of every output stay what they were.
 * @throws SorthError when the graph grows past 200,000 nodes
 *
 * @example
 * await expandBodies(graph, nodeProbe, { dimensions: { batch: 8 }, keep: new Set(["rnn.weight"]) });
 */
export async function expandBodies(graph: Graph, probe: Probe, options: ExpandOptions): Promise<void> {
  const inliner = new Inliner(graph, options.external);
  inlineFunctions(inliner);
  if (!hasBodies(graph)) return;
  const isConstant = (value: Value) => value.initializer !== undefined && !options.keep.has(value.name);
  for (let changed = true; changed; ) {
    changed = false;
    await inferShapes(graph, probe, options.dimensions);
    await foldConstants(graph, probe, { keep: options.keep });
    for (const node of graph.sorted()) {
      if (node.domain !== "" || !/^(If|Loop|Scan)$/.test(node.opType)) continue;
      const [condition] = node.inputs;
      if (node.opType === "If") {
        if (!condition || !isConstant(condition)) continue;
        takeBranch(inliner, node, condition);
        changed = true;
        continue;
      }
      node.obstacle =
        node.opType === "Loop"
          ? await unrollLoop(inliner, node, probe, isConstant)
          : unrollScan(inliner, node);
      changed ||= node.obstacle === undefined;
    }
    changed = resolveSequences(inliner) || changed;
    inlineFunctions(inliner);
  }
}

/** Puts the branch that a constant condition chooses in the place of an If. */
function takeBranch(inliner: Inliner, node: Node, condition: Value): void {
  const taken = condition.initializer?.numbers()[0] !== 0;
  const body = bodyOf(node, taken ? "then_branch" : "else_branch");
  const results = (body.output ?? []).map(({ name }) => name ?? "");
  inliner.replace(node, inliner.inline(body, node.label, new Map(), results));
}
