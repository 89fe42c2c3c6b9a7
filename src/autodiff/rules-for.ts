import type { Graph } from "../graph/graph.ts";
import { commonRules } from "./common-table.ts";
import type { RuleTable } from "./rule.ts";

/**
 * The rules that `backward` needs for a graph. A browser loads those of rarer operators, half of all rules, only for a
 * graph that has such an operator, or one without a rule, so that its refusal can say why.
 *
 * @example
 * const gradients = backward(graph, { wrt, seeds, rules: await rulesFor(graph), emit });
 */
export async function rulesFor({ nodes }: Graph): Promise<RuleTable> {
  if (nodes.every(({ op }) => op in commonRules)) return commonRules;
  return (await import("./table.ts")).rules;
}
