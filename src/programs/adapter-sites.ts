import {
  adapterParameters,
  adapterPrefix,
  adaptersKey,
  isUpward,
  scalingOf,
} from "../analysis/adapter-names.ts";
import type { Site, SkippedSite } from "../analysis/site-types.ts";
import { FileError } from "../errors.ts";
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
  // DoRA's products of A and B are parts of a norm.
  const skipped = found.skipped.filter(
    ({ name }) => name.startsWith(adapterPrefix) && !/\/(change|norm_\w+)(_\d+)?$/.test(name),
  );
  const others = layersOf(graph).flatMap(({ name = "", form, inside }): SkippedSite[] => {
    if (form === "embedding") return [{ name, op: "Gather", reason: ofEmbedding }];
    return inside ? [{ name, op: "com.microsoft.Attention", reason: ofAttention }] : [];
  });
  return { sites, skipped: [...skipped, ...others] };
}

const ofEmbedding = "an embedding: its adapter responds with a row for each token, and to no other input";

const ofAttention =
  "attention with the projections inside: its adapter changes their weight, and responds to nothing itself";

interface MarkedLayer {
  readonly name?: string;
  readonly form?: string;
  readonly inside?: boolean;
  readonly parameters?: { readonly lora_A?: string; readonly lora_B?: string };
  readonly settings?: { readonly rank?: number; readonly alpha?: number; readonly scaling?: string };
}

/** The adapters that a graph's mark describes. @throws FileError for a damaged one */
function layersOf({ metadata }: Graph): readonly MarkedLayer[] {
  try {
    const { layers = [] }: { layers?: unknown } = JSON.parse(metadata.get(adaptersKey) ?? "{}");
    if (Array.isArray(layers) && layers.every((layer) => typeof layer === "object" && layer)) return layers;
  } catch {
    // Refused below.
  }
  throw new FileError(
    `metadata_props["${adaptersKey}"] of the model is damaged; add the adapters to the original again`,
  );
}

/** The name of B, and the scaling, by the name of A. */
function partsOf(graph: Graph): Map<string, { readonly up: string; readonly scaling: number }> {
  return new Map(
    layersOf(graph).flatMap(({ parameters: { lora_A: down, lora_B: up } = {}, settings = {} }) => {
      const { rank = 1, alpha = 1, scaling } = settings;
      return down === undefined || up === undefined
        ? []
        : [[down, { up, scaling: scalingOf({ alpha, rank, ...(scaling && { scaling }) }) }] as const];
    }),
  );
}
