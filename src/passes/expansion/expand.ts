import type { DimensionOptions } from "../../analysis/dimensions.ts";
import { inferShapes } from "../../analysis/infer.ts";
import type { Probe } from "../../analysis/probe.ts";
import { capturedNames } from "../../graph/bodies.ts";
import { bodyFromGraph, bodyOf, graphOfBody } from "../../graph/body-graph.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import type { ExternalReader } from "../../onnx/tensor.ts";
import { foldConstants, foldValues } from "../cleanup/fold-constants.ts";
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

/** The two bodies of an If. */
export const branchNames = ["then_branch", "else_branch"] as const;

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
  if (!hasBodies(graph)) return;
  const seen = new Set<Node>();
  const isConstant = (value: Value) => value.initializer !== undefined && !options.keep.has(value.name);
  for (let changed = true; changed; ) {
    await takeBranches(inliner, probe, options, isConstant);
    await inferShapes(graph, probe, options.dimensions);
    await foldConstants(graph, probe, { keep: options.keep });
    changed = await takeBranches(inliner, probe, options, isConstant);
    for (const node of graph.sorted()) {
      if (node.op === "Loop") node.obstacle = await unrollLoop(inliner, node, probe, isConstant);
      else if (node.op === "Scan") node.obstacle = unrollScan(inliner, node);
      else continue;
      changed ||= node.obstacle === undefined;
    }
    changed = resolveSequences(inliner) || changed;
    inliner.flush();
    // What the branches hide may be what keeps the shapes behind them unknown.
    if (!changed) changed = await expandBranches(graph, probe, options, seen);
  }
}

/** Expands the branches of Ifs that stay, once the shapes of what they read are known. @returns whether any changed */
async function expandBranches(
  graph: Graph,
  probe: Probe,
  options: ExpandOptions,
  seen: Set<Node>,
): Promise<boolean> {
  let changed = false;
  for (const node of graph.nodes) {
    if (node.op !== "If" || seen.has(node) || unknownCapture(node)) continue;
    seen.add(node);
    for (const name of branchNames) {
      const branch = graphOfBody(node, name, { outer: graph, external: options.external });
      if (!hasBodies(branch)) continue;
      const captured = capturedNames(bodyOf(node, name));
      await expandBodies(branch, probe, { ...options, dimensions: {} });
      graph.setBodies(node, new Map([[name, bodyFromGraph(branch, captured)]]));
      changed = true;
    }
  }
  return changed;
}

/** Why the branches of an If cannot be taken as graphs of their own. */
export function unknownCapture(node: Node): string | undefined {
  const unknown = node.captures.find(({ type, shape }) => !type || !shape);
  return unknown && `its branches read "${unknown.name}", whose shape is not known or which is no tensor`;
}

/**
 * Puts the branch that a constant condition chooses in the place of an If, as long as there are any.
 * @returns whether any was
 */
async function takeBranches(
  inliner: Inliner,
  probe: Probe,
  options: ExpandOptions,
  isConstant: (value: Value) => boolean,
): Promise<boolean> {
  const { graph } = inliner;
  for (let taken = false; ; taken = true) {
    const conditionals = graph.nodes.filter(({ op }) => op === "If");
    const conditions = conditionals.flatMap(({ inputs }) => inputs[0] ?? []);
    await foldValues(graph, probe, conditions, { keep: options.keep });
    const decided = conditionals.filter(({ inputs: [condition] }) => condition && isConstant(condition));
    if (decided.length === 0) return taken;
    for (const node of decided) takeBranch(inliner, node);
    inliner.flush();
  }
}

function takeBranch(inliner: Inliner, node: Node): void {
  const taken = node.inputs[0]?.initializer?.numbers()[0] !== 0;
  const body = bodyOf(node, taken ? "then_branch" : "else_branch");
  const results = (body.output ?? []).map(({ name }) => name ?? "");
  inliner.replace(node, inliner.inline(body, node.label, new Map(), results));
}
