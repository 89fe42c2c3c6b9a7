import type { Graph } from "../graph/graph.ts";
import { checkModel } from "../onnx/check-model.ts";
import type { Model } from "../onnx/model.ts";

/** Key of metadata_props under which the adapters of a model are described (src/adapters/mark.ts). */
export const adaptersKey = "sorth.adapters";
/** Name prefix of the nodes that compute adapters, and of their values. */
export const adapterPrefix = "adapter/";

/** Names of the parameters that are trained in a model with adapters; undefined for a model without. */
export const adapterParameters = (graph: Pick<Graph, "metadata">): ReadonlySet<string> | undefined =>
  graph.metadata.has(adaptersKey) ? new Set(namesIn(graph, "parameters", "trained")) : undefined;

/** Names of the parameters of adapters, and of the weights beside which they stand. */
export const adapted = (graph: Pick<Graph, "metadata">): ReadonlySet<string> =>
  new Set(namesIn(graph, "parameters", "layers"));

/** Names of values of adapters that count as constants of a gradient: the norms of DoRA. */
export const detachedValues = (graph: Pick<Graph, "metadata">): readonly string[] =>
  namesIn(graph, "detached");

/** The names in lists of the mark (in a list of layers, the names of their weights); none if the mark is damaged. */
function namesIn({ metadata }: Pick<Graph, "metadata">, ...lists: readonly string[]): string[] {
  try {
    const mark: Readonly<Record<string, unknown>> = JSON.parse(metadata.get(adaptersKey) ?? "{}");
    const entries = lists.flatMap((list) => mark[list] ?? []) as { readonly weight?: unknown }[];
    return entries.map((one) => String(one.weight ?? one));
  } catch {
    return [];
  }
}

/** Whether a model has adapters beside its layers. */
export const hasAdapters = (model: Model): boolean => {
  checkModel(model);
  return model.proto.metadataProps?.some(({ key }) => key === adaptersKey) ?? false;
};

/** The factor of an adapter: alpha/rank, or alpha/√rank. */
export const scalingOf = ({
  alpha,
  rank,
  scaling,
}: {
  readonly alpha: number;
  readonly rank: number;
  readonly scaling?: string;
}): number => alpha / (scaling === "rslora" ? Math.sqrt(rank) : rank);

/** Whether a parameter's name is that of an adapter's B. */
export const isUpward = (name: string): boolean => /\.lora_(embedding_)?B(_\d+)?$/.test(name);
