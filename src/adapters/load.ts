import type { Probe } from "../analysis/probe.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Adapter, AdapterLayer } from "./adapter.ts";
import { graphToAdapt, withAdapters } from "./add.ts";
import { lora } from "./lora.ts";
import { markOf } from "./mark.ts";
import { matched } from "./match.ts";
import { removeAdapters } from "./remove.ts";
import { transposed, withSaved } from "./saved.ts";

/** Puts an adapter beside the layers of a model. `Library.loadAdapter` documents it. */
export async function loadAdapter(model: Model, adapter: Adapter, probe: Probe): Promise<Model> {
  const mark = markOf(graphOf(model));
  const bare = mark ? removeAdapters(model, mark) : model;
  const base = adapter.saved.size > 0 ? withSaved(bare, adapter.saved) : bare;
  const graph = await graphToAdapt(base, {}, probe);
  const layers = matched(graph, adapter).map(({ found, tensors, settings }) => ({
    ...{ layer: found, tensors, settings, kind: lora },
  }));
  return withAdapters(base, graph, layers, mark?.heads ?? []);
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
  for (const { module, parameters, settings } of mark.layers) {
    const [down, up] = [tensorOf(parameters.lora_A), tensorOf(parameters.lora_B)];
    layers.set(module, { module, alpha: settings.alpha, down, up });
  }
  const saved = new Map(
    mark.heads.map(({ name, source, transposed: exchange }) => {
      const tensor = tensorOf(name);
      return [source, exchange ? transposed(tensor) : tensor] as const;
    }),
  );
  return { ...first.settings, layers: [...layers.values()], saved };
}
