import { listed, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Adapter, AdapterLayer } from "./adapter.ts";
import type { AdapterKind, AdapterTensors, LayerSettings } from "./kind.ts";
import { kindOf } from "./kinds.ts";
import { type FoundLayer, type Layer, readingOf } from "./layer.ts";
import { findLayers } from "./layers.ts";

/** A layer of a model with the numbers that an adapter has for it. */
export interface MatchedLayer {
  readonly found: FoundLayer;
  readonly kind: AdapterKind;
  readonly tensors: AdapterTensors;
  readonly settings: LayerSettings;
}

/**
 * The layers of a graph for which an adapter has numbers.
 * @throws UsageError for a module that the model lacks, or a shape that does not fit
 */
export function matched(graph: Graph, adapter: Adapter): MatchedLayer[] {
  const { layers } = findLayers(graph);
  const kind = kindOf(adapter);
  const { rank, alpha, scaling, dropout, dora, ia3 } = adapter;
  const modules = new Map<string, string>();
  return adapter.layers.flatMap((own) => {
    const found = layersFor(layers, own);
    if (found.length === 0) throw unknownModule(own, layers);
    const settings = kind.settingsFor(own, { rank, alpha, scaling, dropout, dora, ia3 });
    const tensors = kind.tensorsOf(own);
    return found.map((layer): MatchedLayer => {
      const other = modules.get(layer.product);
      if (other !== undefined) throw unclearModule(layer, [other, own.module]);
      modules.set(layer.product, own.module);
      const reason = kind.refuses(layer, settings);
      if (reason !== undefined) throw new UsageError(`the adapter cannot act on "${layer.name}": ${reason}`);
      kind.check(layer, tensors);
      return { found: layer, kind, tensors, settings };
    });
  });
}

/** A layer of a graph, or of a mark. */
type NamedLayer = Layer & { readonly names?: readonly string[] };

/**
 * The layers to which those of an adapter belong; several if the model calls the module several times. Modules are compared by
 * their whole names; if that finds none, one may lack the beginning of the other (`model.fc1` and `fc1`).
 */
export function layersFor<T extends NamedLayer>(all: readonly T[], { module, embedding }: AdapterLayer): T[] {
  const layers = all.filter(({ form }) => (form === "embedding") === (embedding === true));
  for (const isNamed of [
    (layer: T) => layer.module === module,
    (layer: T) => layer.stem === module,
    (layer: T) => layer.names?.includes(module),
  ]) {
    const [first, ...others] = layers.filter(isNamed);
    if (first) return [first, ...others.filter((layer) => readingOf(layer) === readingOf(first))];
  }
  // Where an exporter has dropped a weight's name (TorchScript, of modules that another calls), a bias may still tell it.
  const byBias = layers.filter(({ names }) => names?.includes(`${module}.bias`));
  if (byBias.length === 1) return byBias;
  // TorchScript counts modules whose path it does not know: `v`, `v_1`. Which of them is `layers.1.v` cannot be told.
  const isCounted = ({ module: name }: T) => layers.some((layer) => layer.module === `${name}_1`);
  const near = layers.filter(
    (layer) =>
      layer.module.endsWith(`.${module}`) || (module.endsWith(`.${layer.module}`) && !isCounted(layer)),
  );
  return new Set(near.map((layer) => layer.module)).size === 1 ? near : [];
}

const unclearModule = ({ name }: FoundLayer, modules: readonly string[]): UsageError =>
  new UsageError(
    `the adapter's modules "${modules.join('" and "')}" would both belong to the layer "${name}", because the model's file does not keep the names of its modules: export it with PyTorch's default exporter (dynamo), which keeps them`,
  );

function unknownModule({ module, embedding }: AdapterLayer, all: readonly FoundLayer[]): UsageError {
  const layers = all.filter(({ form }) => (form === "embedding") === (embedding === true));
  const names = [...new Set(layers.map((layer) => layer.module))];
  return new UsageError(
    `the adapter is for a module "${module}", which the model does not have; it has ${listed(names)}`,
  );
}
