import { inferShapes } from "../analysis/infer.ts";
import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import type { Probe } from "../analysis/probe.ts";
import { Readings } from "../analysis/readings.ts";
import { findSites } from "../analysis/sites.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { LoraOptions } from "./adapter.ts";
import { layerOfBlocks, layerOfSite, layerOfTable } from "./describe-layer.ts";
import { lastLayers } from "./last-layers.ts";
import type { FoundLayer, RefusedLayer } from "./layer.ts";

/**
 * The layers of a graph that can have adapters, in the graph's order, and those that cannot with the reason.
 * @param graph - with inferred shapes ({@link inferShapes})
 */
export function findLayers(graph: Graph): { layers: FoundLayer[]; refused: RefusedLayer[] } {
  const layers: FoundLayer[] = [];
  const refused: RefusedLayer[] = [];
  const { sites, skipped } = findSites(graph, { openResponses: true, singleUnits: true });
  refused.push(...skipped.map(({ name, reason }) => ({ name, names: [name], reason })));
  const add = (layer: FoundLayer | RefusedLayer | undefined) =>
    layer && ("reason" in layer ? refused.push(layer) : layers.push(layer));
  for (const site of sites) add(layerOfSite(site));
  const readings = new Readings(graph);
  for (const node of graph.nodes) {
    if (node.op === "com.microsoft.MatMulNBits") add(layerOfBlocks(node));
    else if (node.op === "Gather") add(layerOfTable(node, readings));
  }
  const order = new Map(graph.nodes.map((node, i) => [node, i]));
  layers.sort((a, b) => (order.get(a.last) ?? 0) - (order.get(b.last) ?? 0));
  // Penalties take no layer whose weight holds integers; adapters do.
  const names = new Set(layers.map(({ name }) => name));
  return { layers: withOwnModules(layers), refused: refused.filter(({ name }) => !names.has(name)) };
}

/**
 * The layers that the options choose.
 * @throws UsageError if a pattern matches nothing, or no layer is left
 */
export function chosenLayers(
  graph: Graph,
  { include, exclude }: Pick<LoraOptions, "include" | "exclude">,
  onMessage?: (message: string) => void,
): FoundLayer[] {
  const { layers, refused } = findLayers(graph);
  const names = [...layers, ...refused].map((layer) => layer.names);
  if (include) checkMatches("include", include, "layer", names);
  if (exclude) checkMatches("exclude", exclude, "layer", names);
  const kept = layers.filter((layer) => !exclude || !matchesAny(exclude, layer.names));
  if (include) {
    const chosen = kept.filter((layer) => matchesAny(include, layer.names));
    const asked = refused.filter((layer) => matchesAny(include, layer.names));
    for (const { name, reason } of asked) onMessage?.(`no adapter beside "${name}": ${reason}`);
    if (chosen.length > 0) return chosen;
    throw new UsageError(
      asked[0] ? `no layer can have an adapter: "${asked[0].name}": ${asked[0].reason}` : noLayer,
    );
  }
  const last = lastLayers(graph, new Set(layers.map(({ last }) => last)));
  // PEFT's `all-linear` takes no embeddings; into convolutions with groups nothing can be merged.
  const inner = kept.filter(
    ({ last: own, form, groups }) => !last.has(own) && form !== "embedding" && groups === undefined,
  );
  const linear = inner.filter((layer) => layer.linear);
  if (linear.length > 0) return linear;
  if (inner.length > 0) {
    onMessage?.("adapters beside the convolutions: the model has no linear layer but its last one");
    return inner;
  }
  throw new UsageError(
    layers.length === 0
      ? noLayer
      : `the model has no layer but ${layers.map(({ name }) => `"${name}"`).join(", ")}, which gives the output: name it to put an adapter beside it (include=RE)`,
  );
}

const noLayer = "the model has no layer that can have an adapter (sorth-onnx inspect lists its layers)";

/** Infers the shapes that finding layers needs; free dimensions may stay open. */
export const inferForLayers = (
  graph: Graph,
  probe: Probe,
  { batch, dims }: { readonly batch?: number; readonly dims?: Readonly<Record<string, number>> },
): Promise<unknown> =>
  inferShapes(graph, probe, { ...(batch !== undefined && { batch }), ...(dims && { dims }), open: true });

/**
 * Layers of different weights have different modules; those that the names do not tell apart are called by their weights. Beside an
 * embedding with tied weights the other layer is called by its own name.
 */
function withOwnModules(layers: readonly FoundLayer[]): FoundLayer[] {
  const tables = new Set(layers.flatMap(({ form, module }) => (form === "embedding" ? [module] : [])));
  const named = layers.map((layer) =>
    layer.form !== "embedding" && tables.has(layer.module) ? { ...layer, module: layer.name } : layer,
  );
  const weights = new Map<string, Set<string>>();
  for (const { module, weight } of named) {
    weights.set(module, (weights.get(module) ?? new Set()).add(weight));
  }
  return named.map((layer) => {
    const module = (weights.get(layer.module)?.size ?? 1) > 1 ? layer.weight : layer.module;
    return { ...layer, module, names: [...new Set([...layer.names, module])] };
  });
}
