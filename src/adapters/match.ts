import { listed, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { type Adapter, type AdapterLayer, isFactors } from "./adapter.ts";
import { partOf } from "./ia3.ts";
import type { AdapterKind, AdapterTensors, LayerSettings } from "./kind.ts";
import { kindOf } from "./kinds.ts";
import type { FoundLayer } from "./layer.ts";
import { findLayers } from "./layers.ts";
import { matricesIn } from "./lora.ts";

/** A layer of a model with the numbers that an adapter has for it. */
export interface MatchedLayer {
  readonly found: FoundLayer;
  readonly kind: AdapterKind;
  readonly tensors: AdapterTensors;
  readonly settings: LayerSettings;
}

/**
 * The layers of a graph for which an adapter has numbers. Modules are compared by their whole names; if that finds none, one
 * may lack the beginning of the other (`model.fc1` and `fc1`).
 * @throws UsageError for a module that the model lacks, or a shape that does not fit
 */
export function matched(graph: Graph, adapter: Adapter): MatchedLayer[] {
  const { layers } = findLayers(graph);
  const kind = kindOf(adapter);
  return adapter.layers.flatMap((own) => {
    const isOfTable = !isFactors(own) && own.embedding === true;
    const alike = layers.filter(({ form }) => (form === "embedding") === isOfTable);
    const found = layersNamed(alike, own.module);
    if (found.length === 0) throw unknownModule(own, alike);
    return found.map((layer): MatchedLayer => {
      const settings = settingsFor(own, adapter);
      const reason = kind.refuses(layer, settings);
      if (reason !== undefined) throw new UsageError(`the adapter cannot act on "${layer.name}": ${reason}`);
      const tensors = tensorsOf(own);
      kind.check(layer, tensors);
      return { found: layer, kind, tensors, settings };
    });
  });
}

/** The settings of an adapter for one of its layers. */
function settingsFor(layer: AdapterLayer, adapter: Adapter): LayerSettings {
  const { rank, alpha, scaling, dropout, dora, ia3 = false } = adapter;
  const common = { rank, alpha, scaling, dropout, dora, ia3 };
  if (isFactors(layer)) return { ...common, feedforward: layer.feedforward };
  return { ...common, rank: layer.down.dims[0] ?? 1, alpha: layer.alpha };
}

/** The numbers for one module by the last part of their names. */
export function tensorsOf(layer: AdapterLayer): AdapterTensors {
  if (isFactors(layer)) return { [partOf(layer.feedforward)]: layer.factors };
  const { down, up, magnitude, embedding } = layer;
  return {
    ...(embedding ? { lora_embedding_A: down, lora_embedding_B: up } : { lora_A: down, lora_B: up }),
    ...(magnitude && { lora_magnitude_vector: magnitude }),
  };
}

/** Numbers for one module by the last part of their names, as {@link tensorsOf} gives them. */
export function layerFrom(module: string, alpha: number, tensors: AdapterTensors): AdapterLayer | undefined {
  const { lora_magnitude_vector: magnitude, ia3_l, ia3_l_input } = tensors;
  const factors = ia3_l ?? ia3_l_input;
  if (factors) return { module, factors, feedforward: !ia3_l };
  const { down, up } = matricesIn(tensors);
  const embedding = tensors.lora_embedding_A ? ({ embedding: true } as const) : {};
  return down && up && { module, alpha, down, up, ...embedding, ...(magnitude && { magnitude }) };
}

/** The layers of one module; several if the model calls the module several times. */
function layersNamed(layers: readonly FoundLayer[], module: string): FoundLayer[] {
  const exact = layers.filter((layer) => layer.module === module || layer.names.includes(module));
  if (exact.length > 0) return exact;
  const near = layers.filter(
    (layer) => layer.module.endsWith(`.${module}`) || module.endsWith(`.${layer.module}`),
  );
  return new Set(near.map((layer) => layer.module)).size === 1 ? near : [];
}

function unknownModule({ module }: AdapterLayer, layers: readonly FoundLayer[]): UsageError {
  const names = [...new Set(layers.map((layer) => layer.module))];
  return new UsageError(
    `the adapter is for a module "${module}", which the model does not have; it has ${listed(names)}`,
  );
}
