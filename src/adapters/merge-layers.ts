import { findCopies } from "../analysis/copies.ts";
import { isAnonymous } from "../analysis/exporter-names.ts";
import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { OptionNames } from "../known-options.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { equalBytes } from "../onnx/wire.ts";
import { counted } from "../passes/pass.ts";
import type { WeightedAdapter } from "./adapter.ts";
import type { AdapterKind, AdapterTensors, LayerSettings } from "./kind.ts";
import type { FoundLayer, Layer } from "./layer.ts";
import { findLayers } from "./layers.ts";
import { type MatchedLayer, matched } from "./match.ts";

/** Options of {@link Library.mergeAdapters} and {@link Library.unmerge}. */
export interface MergeOptions {
  /** Only layers of which a name matches: of their module, node or weight; of a replaced parameter its own name. */
  readonly include?: RegExp;
  /** Layers and parameters to leave out. */
  readonly exclude?: RegExp;
  /** Receives messages: how many layers the patterns choose, and weights with the same numbers that the adapter leaves alone. */
  readonly onMessage?: (message: string) => void;
}

/** Names of {@link MergeOptions}. */
export const mergeNames = {
  ...{ include: "pattern", exclude: "pattern", onMessage: "function" },
} as const satisfies OptionNames<MergeOptions>;

/** A layer with an adapter to be merged. */
export interface Change {
  readonly layer: Layer;
  readonly kind: AdapterKind;
  readonly tensors: AdapterTensors;
  readonly settings: LayerSettings;
  readonly weight: number;
}

/** Whether a parameter that an adapter replaces is chosen. */
export const nameFilter =
  ({ include, exclude }: MergeOptions) =>
  (name: string): boolean =>
    (!include || matchesAny(include, [name])) && !(exclude && matchesAny(exclude, [name]));

/**
 * What adapters change in a model, where the patterns choose it. A weight that the exporter has stored twice is changed for both
 * layers that read it.
 * @returns the changes, and whether a parameter that an adapter replaces is chosen
 * @throws UsageError for an adapter that does not fit the model, and for a pattern that matches nothing or leaves nothing
 */
export function changesOf(
  graph: Graph,
  given: readonly Required<WeightedAdapter>[],
  options: MergeOptions,
): { readonly changes: Change[]; readonly takes: (name: string) => boolean } {
  const { include, exclude } = options;
  const all = given.map(({ adapter, weight }) => ({ weight, layers: matched(graph, adapter) }));
  const saved = given.flatMap(({ adapter }) => [...adapter.saved.keys()]);
  const known = [
    ...all.flatMap(({ layers }) => layers.map(({ found }) => found.names)),
    ...saved.map((name) => [name]),
  ];
  const thing = "layer for which the adapter has numbers";
  if (include) checkMatches("--include", include, thing, known);
  if (exclude) checkMatches("--exclude", exclude, thing, known);
  const isExcluded = ({ names }: FoundLayer) => exclude !== undefined && matchesAny(exclude, names);
  const isChosen = (layer: FoundLayer) =>
    (!include || matchesAny(include, layer.names)) && !isExcluded(layer);
  const takes = nameFilter(options);
  const changes = all.flatMap(({ weight, layers }) => {
    const chosen = layers.filter(({ found }) => isChosen(found));
    if (include || exclude) {
      options.onMessage?.(`chosen by the patterns: ${chosen.length} of ${counted(layers.length, "layer")}`);
    }
    const twins = twinsOf(graph, layers, options.onMessage).filter(
      ({ found, of }) => isChosen(of) && !isExcluded(found),
    );
    return [...chosen, ...twins].map(
      ({ found, kind, tensors, settings }): Change => ({ layer: found, kind, tensors, settings, weight }),
    );
  });
  if (changes.length === 0 && !saved.some(takes)) {
    throw new UsageError("the patterns leave no layer for which the adapter has numbers");
  }
  return { changes, takes };
}

/** A layer without numbers in the adapter, whose weight is a second copy of a layer's with numbers. */
interface Twin extends MatchedLayer {
  readonly of: FoundLayer;
}

/**
 * Layers to which an adapter belongs although its file does not name them: exporters store a weight a second time, in another
 * layout or as it is, under a name of their own. Two weights of different modules are two weights, however equal.
 */
function twinsOf(
  graph: Graph,
  layers: readonly MatchedLayer[],
  onMessage?: (message: string) => void,
): Twin[] {
  const matchedWeights = new Set(layers.map(({ found }) => found.weight));
  const others = findLayers(graph).layers.filter(({ weight }) => !matchedWeights.has(weight));
  const pairs = others.flatMap((found) => {
    const like = layers.filter(({ found: of }) => of.units === found.units && isLike(graph, of, found));
    return like.map((own) => ({ ...own, found, of: own.found }));
  });
  if (pairs.length === 0) return [];
  const copies = pairs.some(({ found, of }) => isMade(graph, found) || isMade(graph, of))
    ? findCopies(graph)
    : [];
  const isCopy = (a: string, b: string) => copies.some((copy) => copy.name === a && copy.of === b);
  const twins = new Map<FoundLayer, Twin>();
  const told = new Set<string>();
  for (const pair of pairs) {
    const [one, other] = [pair.of.weight, pair.found.weight];
    if (twins.has(pair.found)) continue;
    const isNameless = isMade(graph, pair.found) && pair.found.module === other;
    const isTwin = isCopy(one, other) || isCopy(other, one);
    if (!isTwin && !((isNameless || onMessage) && hasSameNumbers(graph, one, other))) continue;
    if (isTwin || isNameless) twins.set(pair.found, pair);
    if (told.has(other)) continue;
    told.add(other);
    onMessage?.(
      isTwin || isNameless
        ? `"${other}" is a second copy of "${one}": the adapter is merged into both`
        : `"${other}" holds the same numbers as "${one}" and keeps them: the adapter has none for its layer`,
    );
  }
  return [...twins.values()];
}

const weightOf = (graph: Graph, { weight }: FoundLayer): Tensor | undefined =>
  constantTensor(graph.valueNamed(weight));

/** Whether the name of a layer's weight was made by an exporter. */
const isMade = (graph: Graph, { weight }: FoundLayer): boolean => isAnonymous(graph.valueNamed(weight));

/** Whether two layers could have one weight. */
function isLike(graph: Graph, a: FoundLayer, b: FoundLayer): boolean {
  const [one, other] = [weightOf(graph, a), weightOf(graph, b)];
  return one !== undefined && one.type === other?.type && a.unit.join() === b.unit.join();
}

/** Whether two weights are the same to the bit. Compares their beginnings first, since they may lie in files. */
function hasSameNumbers(graph: Graph, a: string, b: string): boolean {
  const [one, other] = [a, b].map((name) => constantTensor(graph.valueNamed(name)));
  if (!one || !other || one.dims.join() !== other.dims.join()) return false;
  if (!equalBytes(one.beginning(1024).bytes, other.beginning(1024).bytes)) return false;
  return equalBytes(one.unkept().bytes, other.unkept().bytes);
}
