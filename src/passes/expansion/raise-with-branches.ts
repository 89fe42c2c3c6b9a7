import { raiseOpset } from "../opset/raise-opset.ts";
import { changed, counted, definePass, runGraphPass, unchanged } from "../pass.ts";
import { expandOptions } from "./expand-options.ts";

/**
 * Raises an expanded graph's opset, the branches of every If included: each is taken as a graph of its own with what it
 * captures as inputs, raised, and its shapes are inferred and written into it, where the derivative finds them.
 * An If that cannot have a derivative keeps the reason as its `obstacle`.
 *
 *     y = If(c) {then: Squeeze(x) {axes=[1]}}, opset 11  →  y: float[2] = If(c) {then: Squeeze(x, [1]): float[2]}, opset 18
 *
 * For a graph from {@link expandBodies}: where it holds an If, shapes are known.
 * @throws SorthError naming the node that cannot be raised, and why
 */
export const raiseWithBranches = definePass({
  name: "raise-with-branches",
  options: {
    /** The opset to raise to, at most 21. */
    target: 18,
    ...expandOptions,
  },
  async run(graph, options, context) {
    const conditionals = graph.nodes.filter(({ op }) => op === "If");
    const from = graph.opset;
    if (conditionals.length === 0) runGraphPass(raiseOpset({ target: options.target }), graph);
    else {
      // A page that trains a model without branches does not load this.
      const { raiseBranches } = await import("./raise-branches.ts");
      await raiseBranches(graph, conditionals, { ...options, inner: raiseWithBranches(options) }, context);
    }
    if (from < options.target) return changed(`opset ${from} to ${options.target}`);
    return conditionals.length > 0
      ? changed(`the branches of ${counted(conditionals.length, "If node")}`)
      : unchanged(`the graph is in opset ${from}, no older than ${options.target}, and has no branches`);
  },
});
