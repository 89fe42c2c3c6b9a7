import { adapterParameters, adapterPrefix, adaptersKey, isUpward } from "../analysis/adapter-names.ts";
import type { Site, SkippedSite } from "../analysis/site-types.ts";
import type { Graph } from "../graph/graph.ts";
import type { ResolvedPlan } from "../penalties/plan.ts";

/**
 * The layers of a model with adapters on which penalties act: what their A read, and base layers that are trained in full.
 * @param found - all layers
 */
export function adapterSites(
  graph: Graph,
  found: { readonly sites: readonly Site[]; readonly skipped: readonly SkippedSite[] },
  plans: readonly ResolvedPlan[],
): { sites: Site[]; skipped: SkippedSite[] } {
  const trained = adapterParameters(graph) ?? new Set<string>();
  const parts = partsOf(graph);
  // Other penalties act on A alone: B begins with zeros, where directions are undefined and their gradients grow without bound.
  const sites = found.sites
    .filter(({ weight: { name } }) => trained.has(name) && !isUpward(name))
    .map((site): Site => {
      const part = parts.get(site.weight.name);
      const up = part && graph.value(part.up);
      if (!part || !up) return site;
      const frozen = plans.flatMap(({ penalty, frozen }) => {
        const vectors = frozen?.get(site.weight.name);
        return vectors === undefined ? [] : [[penalty.options, vectors] as const];
      });
      return { ...site, adapter: { up, scaling: part.scaling, frozen: new Map(frozen) } };
    });
  // DoRA's product of B and A is a part of a norm.
  const skipped = found.skipped.filter(
    ({ name }) => name.startsWith(adapterPrefix) && !/\/change(_\d+)?$/.test(name),
  );
  return { sites, skipped };
}

/** The name of B, and the scaling, by the name of A. */
function partsOf({ metadata }: Graph): Map<string, { readonly up: string; readonly scaling: number }> {
  const mark: {
    layers?: readonly {
      parameters?: { lora_A?: string; lora_B?: string };
      settings?: { rank?: number; alpha?: number; scaling?: string };
    }[];
  } = JSON.parse(metadata.get(adaptersKey) ?? "{}");
  return new Map(
    (mark.layers ?? []).flatMap(({ parameters: { lora_A: down, lora_B: up } = {}, settings = {} }) => {
      const { rank = 1, alpha = 1, scaling } = settings;
      return down === undefined || up === undefined
        ? []
        : [[down, { up, scaling: alpha / (scaling === "rslora" ? Math.sqrt(rank) : rank) }] as const];
    }),
  );
}
