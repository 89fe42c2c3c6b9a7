import type { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";

/** Key of metadata_props under which the adapters of a model are described (src/adapters/mark.ts). */
export const adaptersKey = "sorth.adapters";
/** Name prefix of the nodes that compute adapters, and of their values. */
export const adapterPrefix = "adapter/";

/** Names of the parameters that are trained in a model with adapters; undefined for a model without. */
export function adapterParameters({ metadata }: Pick<Graph, "metadata">): ReadonlySet<string> | undefined {
  const text = metadata.get(adaptersKey);
  if (text === undefined) return undefined;
  try {
    const mark: { parameters?: unknown; trained?: unknown } | null = JSON.parse(text);
    return new Set(
      [mark?.parameters, mark?.trained].flatMap((list) => (Array.isArray(list) ? list.map(String) : [])),
    );
  } catch {
    return new Set();
  }
}

/** Names of values of adapters that count as constants of a gradient: the norms of DoRA. */
export function detachedValues({ metadata }: Pick<Graph, "metadata">): readonly string[] {
  const text = metadata.get(adaptersKey);
  if (text?.includes('"detached"') !== true) return [];
  try {
    const mark: { detached?: unknown } | null = JSON.parse(text);
    return Array.isArray(mark?.detached) ? mark.detached.map(String) : [];
  } catch {
    return [];
  }
}

/** Whether a model has adapters beside its layers. */
export const hasAdapters = (model: Model): boolean =>
  model.proto.metadataProps?.some(({ key }) => key === adaptersKey) ?? false;

/** Whether a parameter's name is that of an adapter's B. */
export const isUpward = (name: string): boolean => /\.lora_B(_\d+)?$/.test(name);
