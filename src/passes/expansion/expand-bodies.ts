import type { Probe } from "../../analysis/probe.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Model } from "../../onnx/model.ts";
import { definePass, type Pass, unchanged } from "../pass.ts";
import { type ExpandOptions, expandOptions } from "./expand-options.ts";

/** The operators that {@link expandBodies} replaces. */
const expandable =
  /^(If|Loop|Scan|Sequence(Construct|Empty|At|Insert|Erase|Length|Map)|SplitToSequence|ConcatFromSequence|Optional(GetElement|HasElement)?)$/;

/** Whether a graph holds bodies or sequences. */
export const hasBodies = (graph: Graph): boolean =>
  graph.nodes.some(({ domain, opType }) => domain === "" && expandable.test(opType));

/**
 * Writes out the bodies that run the same way whatever the lengths of the data are (`writeOutStatic`). Pages load it only for models
 * that hold bodies.
 */
export async function writeOutBodies(graph: Graph, model: Model, probe: Probe): Promise<void> {
  if (!hasBodies(graph)) return;
  const { writeOutStatic } = await import("./write-out-static.ts");
  await writeOutStatic(graph, model, probe);
}

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
    // A page that trains a model without bodies does not load this.
    const { expandInRounds } = await import("./expansion-rounds.ts");
    const inner = (options: ExpandOptions): Pass<unknown> => expandBodies(options);
    return expandInRounds(graph, { dimensions, keep, external, inner }, context);
  },
});
