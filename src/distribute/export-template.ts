import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type MarkedLayer, markOf } from "../adapters/mark.ts";
import { foldAdapters, reasonAgainstMerging } from "../adapters/merge.ts";
import type { Target } from "../adapters/merge-targets.ts";
import type { Copy } from "../analysis/copies.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { markIn, type RecoveredLayer } from "../batch-norm/mark.ts";
import { withoutConversion } from "../data/conversion.ts";
import { graphOf } from "../graph/model-graph.ts";
import { dataTypeName } from "../onnx/data-types.ts";
import { externalLocations } from "../onnx/external.ts";
import { Model } from "../onnx/model.ts";
import { ownData } from "../onnx/own-data-node.ts";
import { onnx } from "../onnx/schema.js";
import { elementCount, externalReference, Tensor } from "../onnx/tensor.ts";
import { equalBytes, fieldRecords, graphFields, tensorFields } from "../onnx/wire.ts";
import { liftParameters } from "../passes/expansion/expand-model.ts";
import type { Trainer } from "../runtime/trainer.ts";
import { adaptedWeight } from "./adapter-graph.ts";
import type { Contract, ContractWeight } from "./contract.ts";
import { type WeightGraph, WeightGraphBuilder, type WeightSources } from "./weight-graph.ts";

/** A range of bytes in a file. */
interface BytePlace {
  readonly offset: number;
  readonly length: number;
}

/** A tensor of the trained model whose numbers come with the run. */
interface TrainedWeight extends BytePlace {
  readonly name: string;
  /** Its type in the file. */
  readonly type: string;
  /** Whether it lies in the data file of the trained model rather than in the model's own. */
  readonly external?: true;
  /** The input of a step that holds it, or the graph that computes it; neither where it keeps the numbers of `base`. */
  readonly from: { readonly state: string } | { readonly graph: WeightGraph } | undefined;
  /** The external data file in which its numbers before training lie; absent if those stand in its place. */
  readonly base?: BytePlace & { readonly file: string };
}

/** A run's trained model as a file in which the trained tensors can be replaced. */
interface ExportTemplate {
  readonly model: Model;
  /** The name that the model gives to its own data file; undefined if it has none. */
  readonly data: string | undefined;
  /** Undefined where more than these tensors would change. */
  readonly weights: readonly TrainedWeight[] | undefined;
}

/**
 * The trained model of a run that has just begun, where its trained tensors lie in it, and how they follow from the run's. Other
 * numbers are written twice and the two files compared, which shows that no place was missed.
 */
export async function exportTemplate(trainer: Trainer): Promise<ExportTemplate> {
  const begun = trainer.state();
  const { parameters, statistics } = trainer.step.ports;
  const states = new Map([...parameters, ...statistics].map(({ name, input }) => [name, input]));
  turnNumbers(trainer);
  const graphs = weightGraphs(trainer, states);
  const first = await fileOf(trainer.export());
  turnNumbers(trainer);
  const second = await fileOf(trainer.export());
  const { updates: _, ...whole } = begun;
  trainer.takeOver(whole);

  const before = graphOf(trainer.export({ merge: false }));
  const own = first.model.bytes.slice();
  const weights: TrainedWeight[] = [];
  const comparable = own.slice();
  for (const tensor of first.model.proto.graph?.initializer ?? []) {
    const name = tensor.name ?? "";
    const reference = externalReference(tensor);
    const isExternal = reference !== undefined && reference.location === first.data;
    const computed = graphs.get(name);
    const state = states.get(name);
    if (!computed && state === undefined && !isExternal) continue;
    const place = isExternal ? reference : first.places.get(name);
    const base = before.value(computed?.base ?? name);
    const tensorBefore = base && constantTensor(base);
    if (place?.length === undefined || second.places.get(name)?.length !== first.places.get(name)?.length) {
      return { ...first, weights: undefined };
    }
    const { offset, length } = place;
    const { external } = tensorBefore ?? {};
    weights.push({
      ...{ name, type: dataTypeName(tensor.dataType ?? 0), offset, length },
      from: computed ? { graph: computed.graph } : state === undefined ? undefined : { state },
      ...(isExternal && { external: true }),
      ...(external && {
        base: { file: external.location, offset: external.offset, length: external.length ?? length },
      }),
    });
    if (isExternal) continue;
    comparable.set(second.model.bytes.subarray(offset, offset + length), offset);
    if (computed && tensorBefore && !external) own.set(tensorBefore.bytes, offset);
  }
  if (!equalBytes(comparable, second.model.bytes)) return { ...first, weights: undefined };
  const files = new Set(first.model.externalLocations);
  for (const { base } of weights) if (base) files.add(base.file);
  return { data: first.data, weights, model: Model.fromBytes(own, trainer.model).withLocations(files) };
}

/** The graphs of the weights that are computed from trained ones, by the names that they have in the trained model. */
function weightGraphs(
  trainer: Trainer,
  states: ReadonlyMap<string, string>,
): ReadonlyMap<string, { readonly graph: WeightGraph; readonly base: string }> {
  const { model, options } = trainer;
  const trained = trainer.export({ merge: false });
  const graph = graphOf(trained);
  const { parameters, statistics } = trainer.state();
  const sources: WeightSources = {
    stateOf: (name) => states.get(name),
    tensorOf: (name) =>
      parameters.get(name) ?? statistics.get(name) ?? (constantTensor(graph.valueNamed(name)) as Tensor),
  };
  const found = new Map<string, { graph: WeightGraph; base: string }>();
  for (const copy of liftParameters(graphOf(model), options, model.external).copies) {
    if (states.has(copy.of)) found.set(copy.name, { graph: copiedWeight(copy, sources), base: copy.name });
  }
  if (markOf(graph) && reasonAgainstMerging(model) === undefined && options.lora) {
    foldAdapters(trained, (name, base, [target, ...others]) => {
      const { layer, kind } = (target as Target).change;
      const made = others.length > 0 ? undefined : adaptedWeight(layer as MarkedLayer, kind, base, sources);
      if (made) found.set(name, { graph: made, base });
    });
  }
  for (const layer of markIn(trained.layout)?.mark.layers ?? []) {
    const epsilon = graph.valueNamed(layer.response).producer?.float("epsilon", 1e-5) ?? 1e-5;
    for (const [name, made] of foldedWeights(layer, epsilon, sources))
      found.set(name, { graph: made, base: name });
  }
  return found;
}

/** A trained model as its main file, in which external weights lie in a data file of its own. */
interface TrainedFile {
  readonly model: Model;
  readonly data: string | undefined;
  /** Where the raw data of initializers lie in it. */
  readonly places: ReadonlyMap<string, BytePlace>;
}

async function fileOf(trained: Model): Promise<TrainedFile> {
  // The record of the data is left out: the program that writes the trained model adds it.
  const model = withoutConversion(trained);
  if (model.apart.size === 0) return { model, data: undefined, places: rawDataPlaces(model.bytes) };
  // A folder that does not exist: what lies beside a model would change its form. No name is shorter: lengths grow with it.
  const path = join(tmpdir(), `sorth-${process.pid}-${Date.now()}`, "m");
  const own = await ownData(model, path, {});
  own.close();
  return { model: own.model, data: basename(own.path), places: rawDataPlaces(own.model.bytes) };
}

/** Where the raw data of initializers lie in a model's file, by name. */
function rawDataPlaces(bytes: Uint8Array): Map<string, BytePlace> {
  const places = new Map<string, BytePlace>();
  for (const record of Model.fromBytes(bytes).layout.graph) {
    if (record.field !== graphFields.initializer) continue;
    const { name } = onnx.TensorProto.decode(bytes.subarray(record.payload, record.end));
    const raw = fieldRecords(bytes, record.payload, record.end).filter(
      ({ field }) => field === tensorFields.rawData,
    );
    const [only] = raw;
    if (name && only && raw.length === 1)
      places.set(name, { offset: only.payload, length: only.end - only.payload });
  }
  return places;
}

/** What `contract.json` says of a template, and its graphs by file: layers that are alike share one graph. */
export function contractOfExport(
  { model, data, weights }: ExportTemplate,
  file: string,
): { readonly contract: Contract["export"]; readonly graphs: ReadonlyMap<string, Model> } {
  const graphs = new Map<string, Model>();
  const files = new Map<string, string>();
  const fileOfGraph = ({ model }: WeightGraph): string => {
    const key = Buffer.from(model.bytes).toString("base64");
    const name = files.get(key) ?? `weight-${files.size + 1}.onnx`;
    files.set(key, name);
    graphs.set(name, model);
    return name;
  };
  const written = weights?.map(({ from, ...weight }): ContractWeight => {
    if (!from || "state" in from) return { ...weight, ...from };
    return { ...weight, graph: fileOfGraph(from.graph), reads: from.graph.reads };
  });
  const named = externalLocations(Model.fromBytes(model.bytes).proto);
  const beside = [...named].filter((location) => location !== data);
  return { contract: { file, data: data ?? null, beside, weights: written ?? null }, graphs };
}

/** Gives all parameters and statistics of a trainer other numbers. */
function turnNumbers(trainer: Trainer): void {
  const { parameters, statistics } = trainer.state();
  const { average } = trainer.step.ports;
  const changed = (tensors: ReadonlyMap<string, Tensor>) =>
    new Map([...tensors].map(([name, tensor]) => [name, turned(tensor)]));
  trainer.takeOver({
    parameters: changed(parameters),
    statistics: changed(statistics),
    ...(average && {
      slots: new Map(
        [...parameters].map(([name, tensor]) => [name, new Map([[average, turned(tensor).named(average)]])]),
      ),
    }),
  });
}

/** Other numbers of the same type and shape. */
function turned(tensor: Tensor): Tensor {
  const data = tensor.data.slice() as Float32Array;
  for (let i = 0; i < data.length; i++) data[i] = 1 + (i % 7) - (data[i] as number) / 2;
  return Tensor.of(tensor.name, tensor.type, tensor.dims, data);
}

/** A copy of a trained parameter in another layout (`copied`). */
function copiedWeight({ name, of, dims, rows, once }: Copy, sources: WeightSources): WeightGraph {
  const b = new WeightGraphBuilder(sources, name);
  const { g } = b;
  const parameter = b.operand("weight", of);
  const size = elementCount(dims);
  if (rows > 0) return b.done(g.transpose(g.reshape(parameter, [rows, size / rows]), [1, 0]), dims);
  if (elementCount(parameter.shape) === size) return b.done(parameter, dims);
  return b.done(g.expand(once ? g.reshape(parameter, once) : parameter, dims), dims);
}

/** The weight and the bias of a layer with its BatchNormalization in them (`foldBatchNorm`). */
function foldedWeights(
  layer: RecoveredLayer,
  epsilon: number,
  sources: WeightSources,
): ReadonlyMap<string, WeightGraph> {
  const { weight, axis, groups, biasOfLayer, beta } = layer;
  const begun = (base: string) => {
    const b = new WeightGraphBuilder(sources, base);
    const { g } = b;
    const variance = b.operand("variance", layer.variance);
    const factor = g.div(b.operand("scale", layer.scale), g.sqrt(g.add(variance, b.number(epsilon))));
    return { b, g, factor };
  };
  const ofWeight = begun(weight);
  const stored = ofWeight.b.operand("weight", weight);
  const length = stored.shape[axis] ?? 1;
  const inner = elementCount(stored.shape.slice(axis + 1));
  const outer = elementCount(stored.shape) / (groups * length * inner);
  const scaled = ofWeight.g.mul(
    ofWeight.g.reshape(stored, [groups, outer, length, inner]),
    ofWeight.g.reshape(ofWeight.factor, [groups, 1, length, 1]),
  );
  const ofBias = begun(biasOfLayer.name);
  const { b, g, factor } = ofBias;
  const shifted = g.sub(b.operand("bias", layer.bias), g.mul(factor, b.operand("mean", layer.mean)));
  return new Map([
    [weight, ofWeight.b.done(scaled, stored.shape)],
    [biasOfLayer.name, b.done(g.div(shifted, b.number(beta)), biasOfLayer.dims)],
  ]);
}
