import type { Site } from "../analysis/site-types.ts";
import type { Graph } from "../graph/graph.ts";
import { markOf } from "./mark.ts";

/**
 * The layers of a model with adapters as those of the merged model: each responds with its adapter, and the adapters' own
 * products are no layers.
 */
export function adaptedSites(graph: Graph, sites: readonly Site[]): readonly Site[] {
  const mark = markOf(graph);
  if (!mark) return sites;
  const values = new Set(mark.values);
  const layerOf = new Map(mark.layers.filter(({ reads }) => !reads).map((layer) => [layer.base, layer]));
  return sites
    .filter(({ node }) => !node.outputs.some((output) => output && values.has(output.name)))
    .map((site) => {
      const layer = layerOf.get(site.response.name);
      return layer ? { ...site, name: layer.name, response: graph.valueNamed(layer.response) } : site;
    });
}
