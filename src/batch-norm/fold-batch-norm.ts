import { base64 } from "../block/base64.ts";
import { renameInNode } from "../block/rename-record.ts";
import { checkModel } from "../onnx/check-model.ts";
import { decodeNodeProto, decodeTensorProto, decodeValueInfoProto } from "../onnx/codec.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import type { onnx } from "../onnx/schema.js";
import { type ModelLayout, payloadOf, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import { elementCount, externalReference, Tensor } from "../onnx/tensor.ts";
import {
  bytesField,
  concatBytes,
  type FieldRecord,
  fieldRecords,
  graphFields,
  nodeFields,
} from "../onnx/wire.ts";
import { damagedMark, markIn, type RecoveredLayer } from "./mark.ts";

/** Folds recovered BatchNorm into the layers again. `ModelFunctions.foldBatchNorm` documents it. */
export const foldBatchNorm = (model: Model): Model => withoutBatchNorm(model, { folded: true });

/** The model as it was before `recoverBatchNorm`: what its layers have learnt since is lost. */
export const beforeRecovery = (model: Model): Model => withoutBatchNorm(model, { folded: false });

function withoutBatchNorm(model: Model, { folded }: { readonly folded: boolean }): Model {
  checkModel(model);
  const { layout } = model;
  const found = markIn(layout);
  if (!found) return model;
  const { layers, graphLengthWidth } = found.mark;
  const replace = new Map<FieldRecord, Uint8Array | Chunk[] | null>([[found.record, null]]);
  const append: Chunk[] = [];
  const apart: string[] = [];
  const nodes = new Nodes(layout);
  const tensors = new Tensors(model, layout);
  for (const layer of layers) {
    restoreNodes(layer, nodes, replace, folded ? layer.biasOfLayer.name : layer.biasInput);
    if (folded) {
      for (const tensor of foldedTensors(layer, nodes.epsilonOf(layer), tensors)) {
        const record = tensors.records.get(tensor.name);
        if (tensors.isOutside(tensor.name)) apart.push(tensor.name);
        const bytes = initializerRecord(tensor);
        if (record) replace.set(record, bytes);
        else append.push(...bytes);
      }
    }
    for (const name of [layer.scale, layer.bias, layer.mean, layer.variance]) {
      const record = tensors.records.get(name);
      if (record) replace.set(record, null);
    }
  }
  const gone = new Set(layers.flatMap(({ add, unnormalized }) => (add === undefined ? [unnormalized] : [])));
  for (const record of layout.graph) {
    if (record.field !== graphFields.valueInfo) continue;
    if (gone.has(decodeValueInfoProto(payloadOf(layout, record)).name ?? "")) replace.set(record, null);
  }
  return Model.spliced(splice(layout, { replace, appendToGraph: append, graphLengthWidth }), model, apart);
}

/** The nodes of a file by what they compute. */
class Nodes {
  readonly layout: ModelLayout;
  readonly #computing = new Map<string, FieldRecord>();

  constructor(layout: ModelLayout) {
    this.layout = layout;
    for (const record of layout.graph) {
      if (record.field !== graphFields.node) continue;
      for (const output of decodeNodeProto(payloadOf(layout, record)).output)
        this.#computing.set(output, record);
    }
  }

  /** @throws SorthError if no node computes the value */
  computing(name: string): FieldRecord {
    const record = this.#computing.get(name);
    if (!record) throw damagedMark(`no node computes "${name}" any more`);
    return record;
  }

  /** ε of a layer's BatchNormalization. @throws SorthError if that is gone */
  epsilonOf({ response }: RecoveredLayer): number {
    const node = decodeNodeProto(payloadOf(this.layout, this.computing(response)));
    if (node.opType !== "BatchNormalization") {
      throw damagedMark(`a ${node.opType} computes "${response}" in the place of the BatchNormalization`);
    }
    return node.attribute.find(({ name }) => name === "epsilon")?.f ?? 1e-5;
  }
}

/** The stored tensors of a model by name. */
class Tensors {
  readonly records = new Map<string, FieldRecord>();
  readonly #model: Model;

  constructor(model: Model, layout: ModelLayout) {
    this.#model = model;
    for (const record of layout.graph) {
      if (record.field !== graphFields.initializer) continue;
      this.records.set(decodeTensorProto(payloadOf(layout, record)).name ?? "", record);
    }
  }

  /** Whether a tensor's numbers are external data. */
  isOutside(name: string): boolean {
    const proto = this.#protoOf(name);
    return !!proto && !!externalReference(proto);
  }

  #protoOf(name: string): onnx.TensorProto.$Properties | undefined {
    return this.#model.proto.graph?.initializer?.find((one) => one.name === name);
  }

  /** @throws SorthError if the model has no such tensor */
  named(name: string): Tensor {
    const proto = this.#protoOf(name);
    if (!proto) throw damagedMark(`it has no tensor "${name}" any more`);
    return Tensor.fromProto(proto, this.#model.external);
  }
}

/** Removes a layer's BatchNormalization and gives the layer a bias again, or none if it had none. */
function restoreNodes(
  layer: RecoveredLayer,
  nodes: Nodes,
  replace: Map<FieldRecord, Uint8Array | Chunk[] | null>,
  bias: string | undefined,
): void {
  const { response, unnormalized, biasInput = "", add } = layer;
  nodes.epsilonOf(layer);
  const record = nodes.computing(response);
  if (add !== undefined) {
    const [field] = fieldRecords(base64.decode(add));
    if (!field) throw damagedMark("it keeps no Add");
    const message = base64.decode(add).subarray(field.payload, field.end);
    replace.set(record, bytesField(graphFields.node, renameInNode(message, biasInput, bias ?? biasInput)));
    return;
  }
  replace.set(record, null);
  const layerRecord = nodes.computing(unnormalized);
  const message = withThirdInput(payloadOf(nodes.layout, layerRecord), bias);
  replace.set(layerRecord, bytesField(graphFields.node, renameInNode(message, unnormalized, response)));
}

/** A node's message with another third input; undefined leaves out an empty one. */
function withThirdInput(message: Uint8Array, name: string | undefined): Uint8Array {
  const records = fieldRecords(message);
  const inputs = records.filter(({ field }) => field === nodeFields.input);
  const third = name === undefined ? [] : [bytesField(nodeFields.input, new TextEncoder().encode(name))];
  const last = inputs.at(-1);
  return concatBytes(
    records.flatMap((record) => {
      const own = message.subarray(record.start, record.end);
      if (inputs[2]) return record === inputs[2] ? third : [own];
      return record === last ? [own, ...third] : [own];
    }),
  );
}

/** The layer's weight and bias with its BatchNormalization in them. */
function foldedTensors(layer: RecoveredLayer, epsilon: number, tensors: Tensors): readonly Tensor[] {
  const { weight: weightName, axis, groups, biasOfLayer, beta } = layer;
  const numbers = (name: string) => tensors.named(name).numbers();
  const [scale, bias, mean, variance] = [layer.scale, layer.bias, layer.mean, layer.variance].map(numbers);
  if (!scale || !bias || !mean || !variance) throw damagedMark("its BatchNormalization is not complete");
  const factor = scale.map((gamma, i) => gamma / Math.sqrt((variance[i] as number) + epsilon));
  const weight = tensors.named(weightName);
  const { dims } = weight;
  const inner = elementCount(dims.slice(axis + 1));
  const length = dims[axis] ?? 1;
  const inGroup = groups === 1 ? weight.size : weight.size / groups;
  const source = weight.data as Float32Array | Float64Array;
  // Units of a ConvTranspose are counted within a group, and groups lie one behind the other.
  const scaled = source.map((number: number, i: number) => {
    const unit = Math.floor(i / inGroup) * (groups === 1 ? 0 : length) + (Math.floor(i / inner) % length);
    return number * (factor[unit] as number);
  });
  const shift = bias.map((b, i) => (b - (factor[i] as number) * (mean[i] as number)) / beta);
  const array = source instanceof Float64Array ? Float64Array : Float32Array;
  return [
    Tensor.of(weightName, weight.type, dims, scaled),
    Tensor.of(biasOfLayer.name, weight.type, biasOfLayer.dims, array.from(shift)),
  ];
}
