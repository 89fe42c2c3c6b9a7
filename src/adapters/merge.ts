import { isInjected } from "../analysis/block-nodes.ts";
import type { Probe } from "../analysis/probe.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { checkKnown } from "../known-options.ts";
import { anyNumber, checkNumber } from "../numbers.ts";
import { computedTensor } from "../onnx/computed-tensor.ts";
import type { Model } from "../onnx/model.ts";
import { byteLengthOf, type Tensor } from "../onnx/tensor.ts";
import { isObject } from "../what-is.ts";
import type { Adapter, WeightedAdapter } from "./adapter.ts";
import { graphToAdapt } from "./add.ts";
import { checkAdapter } from "./check-adapter.ts";
import { adapterKind, reasonToStay } from "./kinds.ts";
import { markOf } from "./mark.ts";
import { type Change, changesOf, type MergeOptions, mergeNames, nameFilter } from "./merge-layers.ts";
import { type Target, targetsOf } from "./merge-targets.ts";
import { removeAdapters } from "./remove.ts";
import { withSaved } from "./saved.ts";
import { WeightEdits } from "./weight-edits.ts";
import { checkHolds, extentOf, numbersOf, rounded, Scratch, summed } from "./weight-sums.ts";

/** Folds adapters into the weights of a model. `Library.mergeAdapters` documents it. */
export async function mergeAdapters(
  model: Model,
  adapters: Adapter | readonly (Adapter | WeightedAdapter)[],
  options: MergeOptions,
  probe: Probe,
): Promise<Model> {
  checkKnown("mergeAdapters", options, mergeNames);
  const given = weighted(adapters);
  const own = hasMark(model);
  if (!own && given.length === 0) {
    throw new UsageError("the model has no adapters to merge: give an adapter (--adapter FILE)");
  }
  if (own && (options.include || options.exclude)) {
    throw new UsageError(
      "--include and --exclude choose among the layers of an adapter's file, and this model has adapters of its own, which are merged as a whole: leave the patterns out",
    );
  }
  let merged = own ? foldAdapters(model) : model;
  if (given.length === 0) return merged;
  const graph = await graphToAdapt(merged, {}, probe);
  const { changes, takes } = changesOf(graph, given, options);
  const permanent = changes.find(({ kind, weight }) => kind.permanent !== undefined && weight < 0)?.kind
    .permanent;
  if (permanent) throw new UsageError(`the adapter cannot be taken out of the weights again: ${permanent}`);
  merged = withChanges(merged, changes);
  for (const { adapter, weight } of given) {
    const saved = new Map([...adapter.saved].filter(([name]) => takes(name)));
    if (saved.size === 0) continue;
    if (weight !== 1) {
      throw new UsageError(
        `the adapter replaces ${[...saved.keys()].join(", ")}, which has no share: it can only be merged with weight 1`,
      );
    }
    merged = withSaved(merged, saved).model;
  }
  return merged;
}

/** Subtracts adapters from the weights into which they were merged. `Library.unmerge` documents it. */
export async function unmerge(
  model: Model,
  adapters: Adapter | readonly (Adapter | WeightedAdapter)[],
  options: MergeOptions,
  probe: Probe,
): Promise<Model> {
  checkKnown("unmerge", options, mergeNames);
  const given = weighted(adapters);
  const takes = nameFilter(options);
  const saved = given.flatMap(({ adapter }) => [...adapter.saved.keys()].filter(takes));
  if (saved.length > 0) {
    throw new UsageError(
      `the adapter replaced ${saved.join(", ")}: what was there before is not known, so it cannot be taken out again`,
    );
  }
  return mergeAdapters(
    model,
    given.map(({ adapter, weight }) => ({ adapter, weight: -weight })),
    options,
    probe,
  );
}

function weighted(adapters: Adapter | readonly (Adapter | WeightedAdapter)[]): Required<WeightedAdapter>[] {
  const list: readonly unknown[] = Array.isArray(adapters) ? adapters : [adapters];
  return list.map((one) => {
    const { adapter, weight = 1 } =
      isObject(one) && "adapter" in one ? (one as WeightedAdapter) : { adapter: one };
    checkAdapter(adapter);
    checkNumber("the weight of an adapter", weight, anyNumber);
    return { adapter, weight };
  });
}

const hasMark = (model: Model): boolean => markOf(graphOf(model)) !== undefined;

/** Why the adapters of a model cannot be folded into its weights; undefined if they can. */
export function reasonAgainstMerging(model: Model): string | undefined {
  for (const layer of markOf(graphOf(model))?.layers ?? []) {
    const reason = reasonToStay(layer, adapterKind(layer.kind));
    if (reason !== undefined) return `"${layer.name}": ${reason}`;
  }
  return undefined;
}

/**
 * A model with adapters as one without: its weights with them, every other byte as before they were added.
 * @param told - learns of each weight that gets other numbers
 * @throws SorthError if a weight takes no adapter
 */
export function foldAdapters(model: Model, told?: Told): Model {
  const graph = graphOf(model);
  if (isInjected(graph))
    throw new SorthError("the model has an injected penalty: strip it first, then merge");
  const mark = markOf(graph);
  if (!mark) return model;
  const changes = mark.layers.map((layer): Change => {
    const tensors = Object.fromEntries(
      Object.entries(layer.parameters).map(([part, name]) => [part, tensorNamed(graph, name)]),
    );
    return { layer, tensors, settings: layer.settings, kind: adapterKind(layer.kind), weight: 1 };
  });
  return withChanges(removeAdapters(model, mark), changes, told);
}

function tensorNamed(graph: Graph, name: string): Tensor {
  const { initializer } = graph.valueNamed(name);
  if (initializer) return initializer;
  throw new SorthError(`"${name}" is not in the file: its adapters have no numbers`);
}

/** Learns that an initializer gets the numbers of `base` with what adapters change in them for a layer. */
type Told = (name: string, base: string, targets: readonly Target[]) => void;

/** The model with other weights, where adapters act on them; all other bytes stay. */
function withChanges(model: Model, changes: readonly Change[], told?: Told): Model {
  for (const { layer, kind } of changes) {
    const reason = reasonToStay(layer, kind);
    if (reason === undefined) continue;
    throw new SorthError(
      `nothing can be merged into "${layer.name}": ${reason}; the adapter has to stay beside it (loadAdapter, or train without merging)`,
    );
  }
  const graph = graphOf(model);
  const byValue = new Map<Value, Map<string, Target[]>>();
  for (const target of changes.flatMap((change) => targetsOf(graph, change))) {
    const layers = byValue.get(target.value) ?? new Map<string, Target[]>();
    byValue.set(target.value, layers);
    layers.set(target.layer, [...(layers.get(target.layer) ?? []), target]);
  }
  // Weights in files are read again rather than kept.
  for (const value of byValue.keys()) value.initializer = value.initializer?.unkept();
  const sizes = [...byValue.keys()].map((value) => bytesOf(constantTensor(value) as Tensor));
  const isLarge = sizes.reduce((sum, size) => sum + size, 0) >= computedFrom;
  const edits = new WeightEdits(model, graph);
  const scratch = new Scratch();
  for (const [value, layers] of byValue) {
    const tensor = constantTensor(value) as Tensor;
    const isComputed = isLarge && bytesOf(tensor) >= computedLeast;
    const lists = [...layers.values()];
    const computed = (list: readonly Target[]) =>
      computedTensor(value.name, tensor.type, tensor.dims, () => {
        const before = numbersOf(tensor);
        return rounded(tensor, summed(before, list, scratch.take(before.length)), value.name).bytes;
      });
    const [only] = lists;
    if (isComputed && only && lists.length === 1 && areAllReaders(value, only) && tensor.type !== "float16") {
      // The size of the change alone tells whether the sum differs from the weight and is finite: the weight need not be read.
      const extent = extentOf(only);
      if (extent === 0) continue;
      if (extent < safeExtent) {
        edits.replace(value, computed(only));
        told?.(value.name, value.name, only);
        continue;
      }
    }
    const before = numbersOf(tensor);
    const results = lists.map((list, i) => ({
      list,
      sum: summed(before, list, i === 0 ? scratch.take(before.length) : new Float64Array(before.length)),
    }));
    const [first] = results;
    const isChanged = ({ sum }: { readonly sum: Float64Array }) =>
      sum.some((number, i) => number !== before[i]);
    if (!first || !results.some(isChanged)) continue;
    for (const { list, sum } of results) checkHolds(tensor, sum, { list, value });
    const groups: { readonly list: readonly Target[]; readonly sum: Float64Array; paths: Node[][] }[] = [];
    for (const { list, sum } of results) {
      const same = groups.find((group) => sum.every((number, i) => number === group.sum[i]));
      const paths = list.slice(0, 1).map(({ path }) => [...path]);
      if (same) same.paths.push(...paths);
      else groups.push({ list, sum, paths });
    }
    // Other readers of the weight keep the old numbers. If there are none, the first layer's new numbers get the old name.
    const keepsOld = !areAllReaders(value, lists.flat()) || !groups.every(isChanged);
    for (const [i, group] of groups.entries()) {
      const merged = isComputed ? computed(group.list) : rounded(tensor, group.sum, value.name);
      const isFirst = !keepsOld && i === 0;
      if (!isFirst && !isChanged(group)) continue;
      const name = isFirst ? edits.replace(value, merged) : edits.separate(value, merged, group.paths);
      told?.(name, value.name, group.list);
    }
  }
  return edits.done();
}

/** Bytes of changed weights from which they are computed when they are read, so that the process holds one at a time. */
const computedFrom = 64 * 2 ** 20;
/** Weights with fewer bytes are computed at once and kept. */
const computedLeast = 2 ** 20;
/** A sum with a smaller change is finite in float32, float64 and bfloat16, whose weights are smaller than 3e38. */
const safeExtent = 1e37;

const bytesOf = ({ type, dims }: Tensor): number => byteLengthOf(type, dims);

/** Whether all that read a value, and what is made of it on the way, are the targets' layers: nothing needs the old numbers. */
function areAllReaders(value: Value, targets: readonly Target[]): boolean {
  const nodes = new Set(targets.flatMap(({ path }) => path));
  const made = targets.flatMap(({ path }) => path.slice(0, -1).flatMap(({ outputs }) => outputs[0] ?? []));
  return [value, ...made].every(({ uses }) => [...uses].every(({ node }) => nodes.has(node)));
}
