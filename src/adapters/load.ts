import { escaped } from "../analysis/name-patterns.ts";
import type { Probe } from "../analysis/probe.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Adapter, AdapterLayer, LoraOptions } from "./adapter.ts";
import { graphToAdapt, withAdapters, withNorms } from "./add.ts";
import { checkAdapter } from "./check-adapter.ts";
import { adapterKind, kindOf, otherKind } from "./kinds.ts";
import { markOf } from "./mark.ts";
import { layersFor, matched } from "./match.ts";
import { removeAdapters } from "./remove.ts";
import { withAxesExchanged, withSaved } from "./saved.ts";

/** Puts an adapter beside the layers of a model. `Library.loadAdapter` documents it. */
export async function loadAdapter(model: Model, adapter: Adapter, probe: Probe): Promise<Model> {
  const mark = markOf(graphOf(model));
  checkAdapter(adapter);
  const bare = mark ? removeAdapters(model, mark) : model;
  const { model: base, heads } = withSaved(bare, adapter.saved);
  const graph = await graphToAdapt(base, {}, probe);
  const layers = matched(graph, adapter).map(({ found, ...others }) => ({ layer: found, ...others }));
  return withAdapters(
    base,
    graph,
    await withNorms(graph, layers, probe),
    heads.length > 0 ? heads : (mark?.heads ?? []),
  );
}

/**
 * The adapter of a model that has one, apart from the model.
 * @throws UsageError if the model has none
 */
export function adapterOf(model: Model): Adapter {
  const graph = graphOf(model);
  const mark = markOf(graph);
  const [first] = mark?.layers ?? [];
  if (!mark || !first) throw new UsageError("the model has no adapters");
  const tensorOf = (name = ""): Tensor => {
    const { initializer } = graph.valueNamed(name);
    if (!initializer) throw new UsageError(`the model's file has no numbers for "${name}"`);
    return initializer;
  };
  const layers = new Map<string, AdapterLayer>();
  for (const { module, parameters, settings, kind } of mark.layers) {
    const parts = Object.entries(parameters).map(([part, name]) => [part, tensorOf(name)] as const);
    const layer = adapterKind(kind).layerFrom(module, settings.alpha, Object.fromEntries(parts));
    if (!layer) throw new UsageError(`the model's file has only one of lora_A and lora_B for "${module}"`);
    layers.set(module, layer);
  }
  const saved = new Map(
    mark.heads.map(({ name, source, transposed: exchange }) => {
      const tensor = tensorOf(name);
      return [source, exchange ? withAxesExchanged(tensor) : tensor] as const;
    }),
  );
  // Files from before DoRA and IA³ do not say that their adapter is neither.
  const { rank, alpha, scaling, dropout, dora = false, ia3 = false } = first.settings;
  return { rank, alpha, scaling, dropout, dora, ia3, layers: [...layers.values()], saved };
}

/**
 * The numbers of an adapter by the names that a model's adapters have.
 * @param model - with adapters beside the same layers
 * @throws UsageError for a module beside which the model has no adapter, or another rank
 */
export function adapterNumbers(model: Model, adapter: Adapter): Map<string, Tensor> {
  const mark = markOf(graphOf(model));
  const numbers = new Map<string, Tensor>();
  const kind = kindOf(adapter);
  for (const layer of adapter.layers) {
    const { module } = layer;
    const tensors = kind.tensorsOf(layer);
    const found = layersFor(mark?.layers ?? [], layer);
    const [first] = found;
    if (!first)
      throw new UsageError(`the adapter is for a module "${module}", beside which the run has no adapter`);
    if (first.kind !== kind.name) throw otherKind(kind, adapterKind(first.kind));
    kind.check(first, tensors);
    const { rank, feedforward = false } = kind.settingsFor(layer, first.settings);
    if (feedforward !== (first.settings.feedforward ?? false)) {
      const [own, other] = feedforward ? ["inputs", "results"] : ["results", "inputs"];
      throw new UsageError(
        `the adapter scales the ${own} of "${module}", the run its ${other} (feedforward=RE)`,
      );
    }
    if (rank !== first.settings.rank) {
      throw new UsageError(`the adapter has rank ${rank} beside "${module}", the run ${first.settings.rank}`);
    }
    for (const { parameters } of found) {
      for (const [part, name] of Object.entries(parameters))
        numbers.set(name, (tensors[part] as Tensor).named(name));
    }
  }
  for (const { name, source, transposed: exchange } of mark?.heads ?? []) {
    const tensor = adapter.saved.get(source);
    if (tensor) numbers.set(name, (exchange ? withAxesExchanged(tensor) : tensor).named(name));
  }
  return numbers;
}

/** The settings of an adapter, and its layers, as options for a run that goes on from it. */
export const optionsOf = (adapter: Adapter): LoraOptions => ({
  ...kindOf(adapter).optionsOf(adapter, layersOf),
  include: layersOf(adapter.layers),
});

/** A pattern for the layers beside which an adapter lies. */
const layersOf = (layers: readonly AdapterLayer[]): RegExp =>
  new RegExp(`(?:^|\\.)(?:${layers.map(({ module }) => escaped(module)).join("|")})$`);
