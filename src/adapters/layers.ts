import { hiddenLayers } from "../analysis/hidden-sites.ts";
import { inferShapes } from "../analysis/infer.ts";
import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import type { Probe } from "../analysis/probe.ts";
import { Readings } from "../analysis/readings.ts";
import { findSites } from "../analysis/sites.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { LoraOptions } from "./adapter.ts";
import {
  layerOfAttention,
  layerOfBlocks,
  layerOfBlockTable,
  layerOfSite,
  layerOfTable,
} from "./describe-layer.ts";
import { type DescribedLayer, type FoundLayer, type RefusedLayer, readingOf } from "./layer.ts";

/**
 * The layers of a graph that can have adapters, in the graph's order, and those that cannot with the reason.
 * @param graph - with inferred shapes ({@link inferShapes})
 */
export function findLayers(graph: Graph): { layers: FoundLayer[]; refused: RefusedLayer[] } {
  const layers: DescribedLayer[] = [];
  const refused: RefusedLayer[] = [];
  const { sites, skipped } = findSites(graph, {
    openResponses: true,
    singleUnits: true,
    hidden: hiddenLayers(graph),
  });
  const shown = new Set(graph.nodes.map(({ label }) => label));
  refused.push(
    ...skipped.map(({ name, reason }) => ({
      name,
      names: [name],
      reason: shown.has(name) ? reason : hidden,
    })),
  );
  const add = (layer: DescribedLayer | RefusedLayer | undefined) =>
    layer && ("reason" in layer ? refused.push(layer) : layers.push(layer));
  for (const site of sites) add(layerOfSite(site));
  const readings = new Readings(graph);
  for (const node of graph.nodes) {
    if (node.op === "com.microsoft.MatMulNBits") add(layerOfBlocks(node));
    else if (node.op === "com.microsoft.GatherBlockQuantized") add(layerOfBlockTable(node));
    else if (node.op === "com.microsoft.Attention") add(layerOfAttention(node));
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
  const withCalls = (chosen: readonly FoundLayer[]) => withAllCalls(chosen, { layers, kept, onMessage });
  if (include) {
    const chosen = kept.filter((layer) => matchesAny(include, layer.names));
    const asked = refused.filter((layer) => matchesAny(include, layer.names));
    for (const { name, reason } of asked) onMessage?.(`no adapter beside "${name}": ${reason}`);
    if (chosen.length > 0) return withCalls(chosen);
    throw new UsageError(
      asked[0] ? `no layer can have an adapter: "${asked[0].name}": ${asked[0].reason}` : noLayer(refused),
    );
  }
  const ends = lastLayers(graph, new Set(layers.map(({ last }) => last)));
  const last = new Set(layers.filter(({ last }) => ends.has(last)).map(readingOf));
  // PEFT's `all-linear` takes no embeddings; into convolutions with groups nothing can be merged.
  const inner = kept.filter(
    (layer) => !last.has(readingOf(layer)) && layer.form !== "embedding" && layer.groups === undefined,
  );
  const linear = inner.filter((layer) => layer.linear);
  for (const { name, reason } of refused) {
    if (reason === hidden) onMessage?.(`no adapter beside "${name}": ${reason}`);
  }
  if (linear.length > 0) return withCalls(linear);
  if (inner.length > 0) {
    onMessage?.("adapters beside the convolutions: the model has no linear layer but its last one");
    return withCalls(inner);
  }
  throw new UsageError(
    layers.length === 0
      ? noLayer(refused)
      : `the model has no layer but ${layers.map(({ name }) => `"${name}"`).join(", ")}, which gives the output: name it to put an adapter beside it (include=RE)`,
  );
}

/**
 * The layers with all others that read their weights in the same way: calls of one module, which has one adapter in files too.
 * @throws UsageError if one of them is excluded
 */
function withAllCalls(
  chosen: readonly FoundLayer[],
  {
    layers,
    kept,
    onMessage,
  }: {
    readonly layers: readonly FoundLayer[];
    readonly kept: readonly FoundLayer[];
    readonly onMessage: ((message: string) => void) | undefined;
  },
): FoundLayer[] {
  const first = new Map([...chosen].reverse().map((layer) => [readingOf(layer), layer]));
  const all = layers.filter((layer) => first.has(readingOf(layer)));
  for (const layer of all) {
    if (chosen.includes(layer)) continue;
    const of = first.get(readingOf(layer))?.name;
    const both = `"${layer.name}" and "${of}" read one weight the same way, so an adapter acts on both`;
    if (!kept.includes(layer)) throw new UsageError(`${both}: exclude both, or none`);
    onMessage?.(both);
  }
  return all;
}

const hidden =
  "it lies in a function, or in a body of If, Loop or Scan, which is not rewritten: export the model without functions (in Python onnx.inliner.inline_local_functions)";

function noLayer([first]: readonly RefusedLayer[]): string {
  const reason = first ? `: "${first.name}": ${first.reason}` : " (sorth-onnx inspect lists its layers)";
  return `the model has no layer that can have an adapter${reason}`;
}

/** Infers the shapes that finding layers needs; free dimensions may stay open. */
export const inferForLayers = (
  graph: Graph,
  probe: Probe,
  { batch, dims }: { readonly batch?: number; readonly dims?: Readonly<Record<string, number>> },
): Promise<unknown> =>
  inferShapes(graph, probe, { ...(batch !== undefined && { batch }), ...(dims && { dims }), open: true });

/**
 * Gives layers of different weights different modules. Layers that names do not tell apart get the names of their weights as modules. If layers
 * read one weight in different ways, the embedding, or else the first of them, keeps the module, and the others get their own names. These names
 * stay the same after a merge that gave some of the layers weights of their own.
 */
function withOwnModules(found: readonly DescribedLayer[]): FoundLayer[] {
  const layers = found.map((layer) => ({ ...layer, weight: layer.weight.replace(/\.merged(_\d+)?$/, "") }));
  const ofReading = firstOf(layers, readingOf);
  const tables = new Set(layers.flatMap(({ form, module }) => (form === "embedding" ? [module] : [])));
  const named = layers.map((layer) =>
    layer.form !== "embedding" && tables.has(layer.module)
      ? { ...layer, module: ofReading(layer).name }
      : layer,
  );
  const isOfSeveral = ofSeveralWeights(named);
  const told = named.map((layer) => (isOfSeveral(layer) ? { ...layer, module: layer.weight } : layer));
  const [ofModule, ofWeight] = [firstOf(told, ({ module }) => module), firstOf(told, ({ weight }) => weight)];
  const isReadAs = (layer: DescribedLayer, first: DescribedLayer) => readingOf(layer) === readingOf(first);
  const own = told.map((layer, i) => {
    const module = isReadAs(layer, ofModule(layer)) ? layer.module : ofReading(layer).name;
    const stem = isReadAs(layer, ofWeight(layer)) ? layer.weight : module;
    return { ...(found[i] as DescribedLayer), module, stem };
  });
  const isStillOfSeveral = ofSeveralWeights(own);
  return own.map((layer) => {
    const module = isStillOfSeveral(layer) ? layer.weight : layer.module;
    return { ...layer, module, names: [...new Set([...layer.names, module])] };
  });
}

/** Returns a function that says whether layers of several weights have the module of this layer. */
function ofSeveralWeights(layers: readonly DescribedLayer[]): (layer: DescribedLayer) => boolean {
  const weights = new Map<string, Set<string>>();
  for (const { module, weight } of layers) {
    weights.set(module, (weights.get(module) ?? new Set()).add(weight));
  }
  return ({ module }) => (weights.get(module)?.size ?? 1) > 1;
}

/** Returns a function that gives the first layer with the same text as this one; an embedding comes before others. */
function firstOf(layers: readonly DescribedLayer[], of: (layer: DescribedLayer) => string) {
  const first = new Map<string, DescribedLayer>();
  for (const layer of layers) {
    if (!first.has(of(layer)) || (layer.form === "embedding" && first.get(of(layer))?.form !== "embedding")) {
      first.set(of(layer), layer);
    }
  }
  return (layer: DescribedLayer): DescribedLayer => first.get(of(layer)) ?? layer;
}

/** Operators that may stand between the last layer and an output. */
const passing = new Set([
  ...["Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid", "Relu", "Clip", "Identity", "Cast", "Dropout"],
  ...["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Add", "Mul", "Div"],
  ...["Gather", "GatherND"],
  ...["GlobalAveragePool", "GlobalMaxPool", "AveragePool", "ReduceMean"],
]);

/**
 * The nodes at which the last layers end: those that the float outputs read, through bias, Softmax, pooling and changes of
 * shape.
 * @param ends - the nodes at which the layers of the graph end
 */
function lastLayers(graph: Graph, ends: ReadonlySet<Node>): ReadonlySet<Node> {
  const last = new Set<Node>();
  for (const output of graph.outputs) {
    if (!isFloat(output.type)) continue;
    let node = output.producer;
    while (node && !ends.has(node) && node.domain === "" && passing.has(node.opType)) {
      const data = node.inputs.filter(
        (input) => input && !input.initializer && input.producer?.op !== "Constant",
      );
      // A sum of two branches has no single last layer.
      node =
        data.length === 1 || !["Add", "Mul", "Div"].includes(node.opType) ? data[0]?.producer : undefined;
    }
    if (node && ends.has(node)) last.add(node);
  }
  return last;
}
