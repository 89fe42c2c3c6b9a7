import { adaptersKey } from "../analysis/adapter-names.ts";
import { isInjected } from "../analysis/block-nodes.ts";
import { foldedFrom } from "../analysis/exporter-names.ts";
import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import { dimensionNames } from "../analysis/option-names.ts";
import type { Probe } from "../analysis/probe.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { base64 } from "../block/base64.ts";
import { renameInNode } from "../block/rename-record.ts";
import { listed, SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import { Value } from "../graph/node.ts";
import { inputRecord, metadataRecord } from "../graph/records.ts";
import { classifierOutput, findHeads, type HeadParameter } from "../head/find-head.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count, decayRate, positive, seedNumber } from "../numbers.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import { payloadOf, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { bytesField, concatBytes, type FieldRecord, graphFields } from "../onnx/wire.ts";
import { Random } from "../random.ts";
import { type AddAdaptersOptions, defaultRank, type LoraOptions } from "./adapter.ts";
import type { AdapterKind, AdapterTensors, LayerSettings } from "./kind.ts";
import { kindOf } from "./kinds.ts";
import { type FoundLayer, readingOf } from "./layer.ts";
import { chosenLayers, inferForLayers } from "./layers.ts";
import { type Mark, type MarkedLayer, type MarkedParameter, markOf, renamedBy } from "./mark.ts";
import { NodeWriter } from "./node-writer.ts";
import { loraNames } from "./option-names.ts";
import { normsFor } from "./weight-numbers.ts";

const optionNames = {
  ...{ ...loraNames, ...dimensionNames, onMessage: "function" },
} as const satisfies OptionNames<AddAdaptersOptions>;

/** Puts fresh adapters beside the layers of a model. `Library.addAdapters` documents it. */
export async function addAdapters(model: Model, options: AddAdaptersOptions, probe: Probe): Promise<Model> {
  checkKnown("addAdapters", options, optionNames);
  const settings = settingsOf(options);
  checkNumber("the seed", options.seed, seedNumber);
  const graph = await graphToAdapt(model, options, probe);
  const layers = chosenLayers(graph, options, options.onMessage);
  const kind = kindOf(settings);
  const isFeedforward = choiceOfInputs(options, layers);
  const random = new Random("lora", options.seed ?? 0);
  const made = new Map<string, AdapterTensors>();
  const chosen = layers.map((layer) => {
    const own = settings.ia3 ? { ...settings, feedforward: isFeedforward(layer) } : settings;
    const reason = kind.refuses(layer, own);
    if (reason !== undefined) throw new UsageError(`no adapter can be put beside "${layer.name}": ${reason}`);
    return { layer, kind, settings: own };
  });
  const beside = (await withNorms(graph, chosen, probe)).map((one): LayerToAdapt => {
    const key = readingOf(one.layer);
    const tensors = made.get(key) ?? kind.fresh(one.layer, one.settings, random, one.norms);
    made.set(key, tensors);
    return { ...one, tensors };
  });
  const heads = options.trainHead ? headOf(graph, layers) : [];
  const numbers = [...made.values()].flatMap((tensors) => Object.values(tensors));
  const total = numbers.reduce((sum, { size }) => sum + size, 0);
  options.onMessage?.(
    `${kind.describes(settings)} beside ${layers.length} ${layers.length === 1 ? "layer" : "layers"} (${listed([...new Set(layers.map(({ module }) => module))])}): ${total} numbers to train`,
  );
  return withAdapters(model, graph, beside, heads);
}

/** The settings with PEFT's defaults. @throws UsageError for a number out of range */
function settingsOf(options: LoraOptions): LayerSettings {
  const {
    rank = defaultRank,
    alpha = defaultRank,
    scaling = "lora",
    dropout = 0,
    dora = false,
    ia3 = false,
  } = options;
  checkNumber("the rank of the adapters", rank, count);
  checkNumber("alpha of the adapters", alpha, positive);
  checkNumber("the dropout of the adapters", dropout, decayRate);
  if (scaling !== "lora" && scaling !== "rslora") {
    throw new UsageError(`the scaling of adapters is "lora" or "rslora", not "${String(scaling)}"`);
  }
  if (typeof dora !== "boolean") {
    throw new UsageError(`dora of adapters is true or false, not "${String(dora)}"`);
  }
  if (typeof ia3 !== "boolean") throw new UsageError(`ia3 is true or false, not "${String(ia3)}"`);
  const [other] = Object.entries({ rank, alpha, scaling, dropout, dora }).find(
    ([key, value]) => options[key as keyof LoraOptions] !== undefined && value !== false,
  ) ?? [undefined];
  if (ia3 && other)
    throw new UsageError(`ia3 trains factors of layers, which have no ${other}: leave it out`);
  if (!ia3 && options.feedforward) {
    throw new UsageError("feedforward names layers whose inputs IA³ scales: it belongs to ia3 (ia3=true)");
  }
  return { rank, alpha, scaling, dropout, dora, ia3 };
}

/** Which of the layers have their inputs scaled. @throws UsageError for a pattern that matches none of them */
function choiceOfInputs(
  { feedforward }: LoraOptions,
  layers: readonly FoundLayer[],
): (layer: FoundLayer) => boolean {
  if (!feedforward) return () => false;
  const names = layers.map((layer) => layer.names);
  checkMatches("feedforward", feedforward, "layer that gets an adapter", names);
  const found = new Set(
    layers.filter((layer) => matchesAny(feedforward, layer.names)).map((layer) => readingOf(layer)),
  );
  return (layer) => found.has(readingOf(layer));
}

/**
 * A model's graph with the shapes that finding layers needs.
 * @throws SorthError for an artifact, an injected model, or one with adapters
 */
export async function graphToAdapt(
  model: Model,
  options: Pick<AddAdaptersOptions, "batch" | "dims">,
  probe: Probe,
): Promise<Graph> {
  const graph = graphOf(model);
  checkNoArtifact(graph);
  if (isInjected(graph)) {
    throw new SorthError("the model has an injected penalty: strip it first, then add adapters");
  }
  if (markOf(graph)) {
    throw new UsageError(
      "the model has adapters already: merge them first (sorth-onnx merge), or train it without --lora and --adapter-from, which trains these",
    );
  }
  await inferForLayers(graph, probe, options);
  return graph;
}

/** A layer with the adapter that it gets. */
interface LayerToAdapt {
  readonly layer: FoundLayer;
  readonly kind: AdapterKind;
  readonly settings: LayerSettings;
  readonly tensors: AdapterTensors;
  /** Norms of the units' weights, if the kind needs them. */
  readonly norms: Float64Array;
}

/** Layers with the norms of their units' weights, where their adapters need these. */
export async function withNorms<T extends Pick<LayerToAdapt, "layer" | "kind">>(
  graph: Graph,
  layers: readonly T[],
  probe: Probe,
): Promise<(T & Pick<LayerToAdapt, "norms">)[]> {
  const all: (T & Pick<LayerToAdapt, "norms">)[] = [];
  for (const one of layers) {
    all.push({ ...one, norms: await normsFor(graph, one, probe) });
  }
  return all;
}

/** The model's file with adapters spliced in: new records, and the renamed results of the layers; all other bytes stay. */
export function withAdapters(
  model: Model,
  graph: Graph,
  layers: readonly LayerToAdapt[],
  heads: readonly MarkedParameter[],
): Model {
  const { layout } = model;
  const records = layout.graph.filter(({ field }) => field === graphFields.node);
  const recordOf = new Map(graph.nodes.map((node, i) => [node, records[i]]));
  const replace = new Map<FieldRecord, Uint8Array>();
  const taken = new Set<string>();
  const named = new Map<string, Readonly<Record<string, string>>>();
  const initializers: Tensor[] = [];
  const constants: string[] = [];
  const values: string[] = [];
  const detached: string[] = [];
  const replaced: string[] = [];
  const marked: MarkedLayer[] = [];
  for (const { layer, kind, settings, tensors, norms } of layers) {
    const { names: _, linear: __, last, ...described } = layer;
    const writer = new NodeWriter(graph, layer.name, taken);
    const key = readingOf(layer);
    let parameters = named.get(key);
    if (!parameters) {
      const entries = Object.entries(tensors).map(([part, tensor]) => {
        const name = writer.name(part, layer.stem);
        initializers.push(tensor.named(name));
        return [part, name] as const;
      });
      parameters = Object.fromEntries(entries);
      named.set(key, parameters);
    }
    const base = writer.name("base");
    const reads = kind.write(writer, layer, parameters, settings, { base, result: layer.response, norms });
    const record = recordOf.get(reads ? (graph.valueNamed(layer.product).producer ?? last) : last);
    if (!record) throw new RangeError(`"${layer.name}" is not in the file`);
    const payload = payloadOf(layout, record);
    const names = Object.entries(renamedBy({ reads, response: layer.response, base }));
    const node = names.reduce((bytes, [from, to]) => renameInNode(bytes, from, to), payload);
    const renamed = bytesField(graphFields.node, node);
    const pieces = reads ? [...writer.records, renamed] : [renamed, ...writer.records];
    replace.set(record, concatBytes(pieces));
    replaced.push(base64.encode(layout.bytes.subarray(record.start, record.end)));
    initializers.push(...writer.constants);
    constants.push(...writer.constants.map(({ name }) => name));
    values.push(...writer.values);
    detached.push(...writer.detached);
    marked.push({
      ...{ ...described, kind: kind.name, settings, parameters, base },
      ...(reads && { reads }),
    });
  }
  const mark: Mark = {
    version: 1,
    layers: marked,
    parameters: [...named.values()].flatMap((one) => Object.values(one)),
    trained: heads.map(({ name }) => name),
    ...{ heads, constants, values, ...(detached.length > 0 && { detached }) },
    file: { graphLengthWidth: layout.graphLengthWidth, replaced },
  };
  return Model.spliced(
    splice(layout, {
      replace,
      appendToGraph: initializers.flatMap((tensor) => recordsOfInitializer(model, tensor)),
      appendToModel: [metadataRecord(adaptersKey, JSON.stringify(mark))],
    }),
    model,
  );
}

/** An initializer as records of a graph; files of IR 3 list it among the inputs too. */
function recordsOfInitializer(model: Model, tensor: Tensor): Chunk[] {
  const record = initializerRecord(tensor);
  if (Number(model.proto.irVersion) >= 4) return record;
  const input = new Value(tensor.name, tensor.type, tensor.dims);
  input.declared = tensor.dims;
  return [...record, inputRecord(input)];
}

/**
 * The weight and bias of the layer, or layers, that the output reads.
 * @throws SorthError if there is none, UsageError if it has an adapter
 */
function headOf(graph: Graph, layers: readonly FoundLayer[]): MarkedParameter[] {
  return findHeads(classifierOutput(graph, undefined)).flatMap(({ weight, bias, node }) => {
    if (layers.some(({ product }) => node.outputs.some((output) => output?.name === product))) {
      throw new UsageError(
        `the layer "${node.label}" gives the output and is trained in full: leave it out of include, or put an adapter beside it and keep its classes`,
      );
    }
    return [weight, ...(bias ? [bias] : [])].map((one) => headParameter(one));
  });
}

function headParameter({ value, tensor, axis }: HeadParameter): MarkedParameter {
  const [source = value.name] = foldedFrom(value);
  return { name: value.name, source, transposed: tensor.dims.length === 2 && axis === 1 };
}
