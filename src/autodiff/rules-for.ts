import type { Graph } from "../graph/graph.ts";
import { tableOf } from "../lookup.ts";
import { commonRules } from "./common-table.ts";
import type { RuleTable } from "./rule.ts";

/**
 * The rules that `backward` needs for a graph. A browser loads those of networks of images, and those of rarer operators, half
 * of all rules, only for a graph that has such an operator, or one without a rule, so that its refusal can say why.
 *
 * @example
 * const gradients = backward(graph, { wrt, seeds, rules: await rulesFor(graph), emit });
 */
export async function rulesFor({ nodes }: Graph): Promise<RuleTable> {
  const others = nodes.filter(({ op }) => !(op in commonRules));
  if (others.length === 0) return commonRules;
  const { imageRules } = await import("./image-table.ts");
  if (others.every(({ op }) => op in imageRules)) return tableOf({ ...commonRules, ...imageRules });
  return (await import("./table.ts")).rules;
}
