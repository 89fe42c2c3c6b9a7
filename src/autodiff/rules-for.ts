import type { Graph } from "../graph/graph.ts";
import { tableOf } from "../lookup.ts";
import { commonRules } from "./common-table.ts";
import type { RuleTable } from "./rule.ts";

/**
 * The rules that `backward` needs for a graph. A browser loads those of networks of images and those of rarer operators only
 * for a graph that has such an operator; all of them for one with an operator that no table has, so that its refusal can say why.
 *
 * @param passesRounding - whether gradients pass straight through operators that round
 * @example
 * const gradients = backward(graph, { wrt, seeds, rules: await rulesFor(graph), emit });
 */
export async function rulesFor(graph: Graph, passesRounding = false): Promise<RuleTable> {
  const rules = await tableFor(graph);
  return passesRounding
    ? tableOf({ ...rules, ...(await import("./straight-through.ts")).straightThrough })
    : rules;
}

async function tableFor({ nodes }: Graph): Promise<RuleTable> {
  const missing = (table: RuleTable) => nodes.some(({ op }) => !(op in table));
  if (!missing(commonRules)) return commonRules;
  const { furtherRules } = await import("./further-table.ts");
  const further = tableOf({ ...commonRules, ...furtherRules });
  if (!missing(further)) return further;
  const { imageRules } = await import("./image-table.ts");
  const ofImages = tableOf({ ...further, ...imageRules });
  return missing(ofImages) ? (await import("./table.ts")).rules : ofImages;
}
