import { bodyOf } from "../../graph/body-graph.ts";
import type { Node } from "../../graph/node.ts";
import { foldValues } from "../cleanup/fold-constants.ts";
import { changes, definePass, runPass } from "../pass.ts";
import { Inliner, inlineOptions, isConstant } from "./inliner.ts";

/**
 * Replaces every If with a constant condition by the branch that it takes, until none is left.
 *
 *     y = If(true) {then: y = Neg(x)}  →  y = Neg(x)
 */
export const takeBranches = definePass({
  name: "take-branches",
  options: inlineOptions,
  async run(graph, options, context) {
    const inliner = options.inliner ?? new Inliner(graph, options.external);
    for (let taken = 0; ; ) {
      const conditionals = graph.nodes.filter(({ op }) => op === "If");
      const values = conditionals.flatMap(({ inputs }) => inputs[0] ?? []);
      await runPass(foldValues({ values, keep: options.keep }), graph, context);
      const decided = conditionals.filter(
        ({ inputs: [condition] }) => condition && isConstant(condition, options),
      );
      if (decided.length === 0) {
        return changes(taken, "If node", "no If has a constant condition");
      }
      for (const node of decided) takeBranch(inliner, node);
      inliner.flush();
      taken += decided.length;
    }
  },
});

function takeBranch(inliner: Inliner, node: Node): void {
  const taken = node.inputs[0]?.initializer?.numbers()[0] !== 0;
  const body = bodyOf(node, taken ? "then_branch" : "else_branch");
  const results = (body.output ?? []).map(({ name }) => name ?? "");
  inliner.replace(node, inliner.inline(body, node.label, new Map(), results));
}
