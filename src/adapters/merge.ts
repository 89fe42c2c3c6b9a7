import { isInjected } from "../analysis/block-nodes.ts";
import type { Probe } from "../analysis/probe.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { unusableNumber } from "../analysis/unusable-numbers.ts";
import { renameInNode } from "../block/rename-record.ts";
import { NumericError, SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { anyNumber, checkNumber } from "../numbers.ts";
import { decodeTensorProto } from "../onnx/codec.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import { numberToBfloat16, numberToFloat16 } from "../onnx/small-types.ts";
import { splice } from "../onnx/splice.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import { bytesField, type FieldRecord, graphFields } from "../onnx/wire.ts";
import type { Adapter, WeightedAdapter } from "./adapter.ts";
import { graphToAdapt } from "./add.ts";
import type { AdapterKind, AdapterTensors, LayerSettings, WeightNumbers } from "./kind.ts";
import { adapterKind } from "./kinds.ts";
import type { Layer, StoredForm } from "./layers.ts";
import { markOf } from "./mark.ts";
import { matched } from "./match.ts";
import { removeAdapters } from "./remove.ts";
import { withSaved } from "./saved.ts";
import { weightNumbers } from "./weight-numbers.ts";
import { toStored } from "./weight-steps.ts";

/** A layer with an adapter to be merged. */
interface Change {
  readonly layer: Layer;
  readonly kind: AdapterKind;
  readonly tensors: AdapterTensors;
  readonly settings: LayerSettings;
  readonly weight: number;
}

/** Folds adapters into the weights of a model. `Library.mergeAdapters` documents it. */
export async function mergeAdapters(
  model: Model,
  adapters: Adapter | readonly (Adapter | WeightedAdapter)[],
  probe: Probe,
): Promise<Model> {
  const given = weighted(adapters);
  const own = hasMark(model);
  if (!own && given.length === 0) {
    throw new UsageError("the model has no adapters to merge: give an adapter (--adapter FILE)");
  }
  let merged = own ? foldAdapters(model) : model;
  if (given.length === 0) return merged;
  const graph = await graphToAdapt(merged, {}, probe);
  const changes = given.flatMap(({ adapter, weight }) =>
    matched(graph, adapter).map(({ found, ...others }): Change => ({ layer: found, ...others, weight })),
  );
  const permanent = changes.find(({ kind, weight }) => kind.permanent !== undefined && weight < 0)?.kind
    .permanent;
  if (permanent) throw new UsageError(`the adapter cannot be taken out of the weights again: ${permanent}`);
  merged = withChanges(merged, changes);
  for (const { adapter, weight } of given) {
    if (adapter.saved.size === 0) continue;
    if (weight !== 1) {
      throw new UsageError(
        `the adapter replaces ${[...adapter.saved.keys()].join(", ")}, which has no share: it can only be merged with weight 1`,
      );
    }
    merged = withSaved(merged, adapter.saved).model;
  }
  return merged;
}

/** Subtracts adapters from the weights into which they were merged. `Library.unmerge` documents it. */
export async function unmerge(
  model: Model,
  adapters: Adapter | readonly (Adapter | WeightedAdapter)[],
  probe: Probe,
): Promise<Model> {
  const given = weighted(adapters);
  const saved = given.find(({ adapter }) => adapter.saved.size > 0)?.adapter.saved;
  if (saved) {
    throw new UsageError(
      `the adapter replaced ${[...saved.keys()].join(", ")}: what was there before is not known, so it cannot be taken out again`,
    );
  }
  return mergeAdapters(
    model,
    given.map(({ adapter, weight }) => ({ adapter, weight: -weight })),
    probe,
  );
}

function weighted(adapters: Adapter | readonly (Adapter | WeightedAdapter)[]): Required<WeightedAdapter>[] {
  const list: readonly (Adapter | WeightedAdapter)[] = "layers" in adapters ? [adapters] : adapters;
  return list.map((one) => {
    const { adapter, weight = 1 } = "adapter" in one ? one : { adapter: one };
    checkNumber("the weight of an adapter", weight, anyNumber);
    return { adapter, weight };
  });
}

const hasMark = (model: Model): boolean => markOf(graphOf(model)) !== undefined;

/** Why the adapters of a model cannot be folded into its weights; undefined if they can. */
export function reasonAgainstMerging(model: Model): string | undefined {
  const found = markOf(graphOf(model))?.layers.find(({ stored }) => typeof stored === "string");
  return found && `"${found.name}": ${found.stored as string}`;
}

/**
 * A model with adapters as one without: its weights with them, every other byte as before they were added.
 * @throws SorthError if a weight takes no adapter
 */
export function foldAdapters(model: Model): Model {
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
  return withChanges(removeAdapters(model, mark), changes);
}

function tensorNamed(graph: Graph, name: string): Tensor {
  const { initializer } = graph.valueNamed(name);
  if (initializer) return initializer;
  throw new SorthError(`"${name}" is not in the file: its adapters have no numbers`);
}

/** The model with other weights, where adapters act on them; all other bytes stay. */
function withChanges(model: Model, changes: readonly Change[]): Model {
  const refused = changes.find(({ layer }) => typeof layer.stored === "string");
  if (refused) {
    throw new SorthError(
      `nothing can be merged into "${refused.layer.name}": ${refused.layer.stored as string}; the adapter has to stay beside it (loadAdapter, or train without merging)`,
    );
  }
  const graph = graphOf(model);
  const byValue = new Map<Value, Map<string, Target[]>>();
  for (const target of changes.flatMap((change) => targetsOf(graph, change))) {
    const layers = byValue.get(target.value) ?? new Map<string, Target[]>();
    byValue.set(target.value, layers);
    layers.set(target.layer, [...(layers.get(target.layer) ?? []), target]);
  }
  const edits = new Edits(model, graph);
  for (const [value, layers] of byValue) {
    const tensor = constantTensor(value) as Tensor;
    const before = numbersOf(tensor);
    const results = [...layers.values()].map((list) => {
      const sum = Float64Array.from(before);
      for (const target of list) target.addTo(sum);
      return { list, sum };
    });
    const [first] = results;
    const isChanged = ({ sum }: { readonly sum: Float64Array }) =>
      sum.some((number, i) => number !== before[i]);
    if (!first || !results.some(isChanged)) continue;
    const same = results.every(({ sum }) => sum.every((number, i) => number === first.sum[i]));
    const readers = new Set(results.flatMap(({ list }) => list.map(({ reader }) => reader)));
    if (same && [...value.uses].every(({ node }) => readers.has(node))) {
      edits.replace(value, rounded(tensor, first.sum, value.name));
      continue;
    }
    // Something else reads the numbers too: it keeps the old ones.
    for (const { list, sum } of results.filter(isChanged)) {
      const [target] = list;
      if (target) edits.separate(value, rounded(tensor, sum, value.name), target.reader);
    }
  }
  return edits.done();
}

/** Stored numbers that an adapter changes for one layer: its weight, or its bias. */
interface Target {
  readonly value: Value;
  /** The layer's node. */
  readonly layer: string;
  /** The node that reads the numbers: the layer's own, or the first of the operators in between. */
  readonly reader: Node;
  readonly addTo: (sum: Float64Array) => void;
}

function targetsOf(graph: Graph, change: Change): Target[] {
  const { layer, kind, tensors, weight } = change;
  const { node, reader } = operandOf(graph, layer);
  const targets: Target[] = [
    {
      ...{ value: graph.valueNamed(layer.weight), layer: node.label, reader },
      addTo: (sum) =>
        addTo(sum, change, () => weightNumbers(graph, layer, kind.compounds === true ? sum : undefined)),
    },
  ];
  if (!kind.changeOfBias || !layer.bias || !("name" in layer.bias)) return targets;
  const { name } = layer.bias;
  const ofBias: Target = {
    ...{ value: graph.valueNamed(name), layer: node.label, reader: biasReader(graph, layer, name) },
    addTo: (sum) => {
      const change = kind.changeOfBias?.(tensors, Float64Array.from(sum), weight);
      change?.forEach((number, i) => {
        sum[i] = (sum[i] ?? 0) + number;
      });
    },
  };
  return [...targets, ofBias];
}

/** A layer's node, and the node that reads its stored weight: the layer's own, or the first of the operators in between. */
function operandOf(graph: Graph, layer: Layer): { node: Node; reader: Node } {
  const node = graph.value(layer.product)?.producer;
  if (!node)
    throw new SorthError(`the model has no layer "${layer.name}": no node computes "${layer.product}"`);
  let [reader, value] = [node, node.inputs[layer.form === "left" ? 0 : 1] ?? undefined];
  while (value && value.name !== layer.weight && value.producer) {
    reader = value.producer;
    value = reader.inputs[0] ?? undefined;
  }
  return { node, reader };
}

/** The node that reads a layer's stored bias: the one that adds it, or the first of the operators in between. */
function biasReader(graph: Graph, layer: Layer, bias: string): Node {
  const last = graph.valueNamed(layer.response).producer;
  for (const input of last?.inputs ?? []) {
    let [reader, value] = [last, input];
    while (value && value.name !== bias && value.producer && value.name !== layer.product) {
      reader = value.producer;
      value = reader.inputs[0] ?? null;
    }
    if (value?.name === bias && reader) return reader;
  }
  throw new SorthError(`the model has no layer "${layer.name}" with the bias "${bias}"`);
}

function numbersOf(tensor: Tensor): ArrayLike<number> {
  const { type } = tensor;
  return type === "float" || type === "double" ? (tensor.data as Float32Array) : tensor.numbers();
}

/** Adds an adapter to a weight, in the weight's layout. */
function addTo(
  sum: Float64Array,
  { layer, kind, tensors, settings, weight }: Change,
  before: WeightNumbers,
): void {
  const { unitsFirst, factor, dims, steps } = layer.stored as StoredForm;
  const change = kind.change(layer, tensors, settings, before, weight);
  const operand = unitsFirst ? change : exchanged(change, layer.units, elementCount(layer.unit));
  const stored = toStored(operand, dims, steps);
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (stored[i] ?? 0) / factor;
}

function exchanged(matrix: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = matrix[i * columns + j] ?? 0;
  }
  return result;
}

/** Numbers in a weight's type and shape. @throws NumericError for NaN and Infinity that the weight did not hold before */
function rounded(before: Tensor, numbers: Float64Array, name: string): Tensor {
  const { type, dims } = before;
  const half = type === "float16" ? numberToFloat16 : numberToBfloat16;
  const tensor =
    type === "float" || type === "double"
      ? Tensor.of(name, type, dims, type === "float" ? Float32Array.from(numbers) : numbers)
      : Tensor.of(name, type, dims, Uint16Array.from(numbers, half));
  const broken = unusableNumber(tensor);
  if (broken === undefined || unusableNumber(before)) return tensor;
  throw new NumericError(
    broken.startsWith("NaN")
      ? `merged, "${name}" would hold ${broken}: the adapter holds NaN or Infinity; take an earlier one`
      : `merged, "${name}" would hold ${broken}, more than its type (${type}) does: convert the model to float32, or merge a smaller share of the adapter`,
  );
}

/** Changes to the weights in a model's file. */
class Edits {
  readonly #model: Model;
  readonly #graph: Graph;
  readonly #initializers = new Map<string, Tensor>();
  readonly #appended: Tensor[] = [];
  readonly #nodes = new Map<Node, readonly (readonly [string, string])[]>();
  readonly #dropped = new Set<Node>();

  constructor(model: Model, graph: Graph) {
    this.#model = model;
    this.#graph = graph;
  }

  /** A weight gets other numbers. The graph lets go of the old ones, which it has read. */
  replace(value: Value, tensor: Tensor): void {
    if (value.initializer) {
      this.#initializers.set(value.name, tensor);
      value.initializer = tensor;
    } else {
      if (value.producer) this.#dropped.add(value.producer);
      this.#appended.push(tensor);
    }
  }

  /** One reader of a weight gets a weight of its own. */
  separate(value: Value, tensor: Tensor, reader: Node): void {
    const name = this.#graph.freshName(`${value.name}.merged`);
    this.#graph.addInitializer(tensor.named(name));
    this.#appended.push(tensor.named(name));
    this.#nodes.set(reader, [...(this.#nodes.get(reader) ?? []), [value.name, name]]);
  }

  done(): Model {
    const { layout } = this.#model;
    const replace = new Map<FieldRecord, Uint8Array | Uint8Array[] | null>();
    const payloadOf = ({ payload, end }: FieldRecord) => layout.bytes.subarray(payload, end);
    for (const record of layout.graph) {
      if (record.field !== graphFields.initializer) continue;
      const { name, docString } = decodeTensorProto(payloadOf(record));
      const tensor = this.#initializers.get(name);
      if (tensor) replace.set(record, initializerRecord(tensor, docString));
    }
    const records = layout.graph.filter(({ field }) => field === graphFields.node);
    this.#graph.nodes.forEach((node, i) => {
      const record = records[i];
      const names = this.#nodes.get(node);
      if (record && this.#dropped.has(node)) replace.set(record, null);
      else if (record && names) {
        const message = names.reduce((bytes, [from, to]) => renameInNode(bytes, from, to), payloadOf(record));
        replace.set(record, bytesField(graphFields.node, message));
      }
    });
    const appendToGraph = this.#appended.flatMap((tensor) => initializerRecord(tensor));
    return Model.spliced(splice(layout, { replace, appendToGraph }), this.#model);
  }
}
