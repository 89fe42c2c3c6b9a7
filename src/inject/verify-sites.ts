import { findSites } from "../analysis/sites.ts";
import type { Graph } from "../graph/graph.ts";
import type { Penalty } from "../penalties/penalty.ts";
import { penaltyNamed } from "../penalties/table.ts";
import type { Block } from "./block.ts";
import type { InjectedSite } from "./verify-penalty.ts";

/** The sites of the original that the mark lists, with their penalties; or why they cannot be checked. */
export function injectedSites(
  own: Graph,
  { mark }: Block,
  given: readonly Penalty[],
): InjectedSite[] | string {
  const byName = new Map(findSites(own).sites.map((site) => [site.name, site]));
  const common = mark.penalties[0]?.weight || 1;
  const found: InjectedSite[] = [];
  for (const marked of mark.sites) {
    const site = byName.get(marked.name);
    if (!site) return `not checked: the original has no layer "${marked.name}" at these dimensions`;
    const type = site.response.type ?? "undefined";
    if (!["float", "double", "float16"].includes(type)) {
      return `not checked: the responses of "${site.name}" are ${type}, which ONNX Runtime's binding cannot return`;
    }
    const penalties = mark.penalties
      .filter(({ name }) => marked.penalties.includes(name))
      .map(({ name, options, weight }) => ({
        penalty: given.find(({ definition }) => definition.name === name) ?? penaltyNamed(name, options),
        factor: weight / common,
      }));
    found.push({ site, marked, penalties });
  }
  return found;
}
