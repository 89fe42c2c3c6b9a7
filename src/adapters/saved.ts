import { foldedFrom } from "../analysis/exporter-names.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodeToProto } from "../graph/proto.ts";
import { decodeNodeProto, decodeTensorProto, encodeNodeProto } from "../onnx/codec.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import { onnx } from "../onnx/schema.js";
import { payloadOf, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import { externalReference, type Tensor } from "../onnx/tensor.ts";
import { bytesField, type FieldRecord, graphFields } from "../onnx/wire.ts";
import type { MarkedParameter } from "./mark.ts";

/**
 * The model with parameters that an adapter's file replaces (PEFT's `modules_to_save`), by their names in the source.
 * @param saved - in PyTorch's layout
 * @returns the model, and what was replaced
 * @throws UsageError for a parameter that the model lacks, or has in another shape
 */
export function withSaved(
  model: Model,
  saved: ReadonlyMap<string, Tensor>,
): { readonly model: Model; readonly heads: readonly MarkedParameter[] } {
  if (saved.size === 0) return { model, heads: [] };
  const heads: MarkedParameter[] = [];
  const graph = graphOf(model);
  const tensors = new Map<string, Tensor>();
  const biases = new Map<string, OwnBias & { readonly tensor: Tensor }>();
  for (const [source, tensor] of saved) {
    const named = (one: string) =>
      graph.initializers.find((value) => namesOf(value).some((name) => isSame(name, one)));
    const value = named(source);
    const weight = /\.bias$/.test(source) ? named(source.replace(/bias$/, "weight")) : undefined;
    const own = weight && (value?.uses.size !== 1 ? ownBias(graph, weight) : undefined);
    if (own && weight.initializer) {
      const { type } = weight.initializer;
      biases.set(own.output, { ...own, tensor: tensorOf(own.name, type, tensor.dims, tensor.numbers()) });
      heads.push({ name: own.name, source, transposed: false });
      continue;
    }
    if (!value?.initializer) {
      throw new UsageError(`the adapter replaces "${source}", which the model does not have under that name`);
    }
    const transposed = tensor.dims.length === 2 && readsTransposed(value);
    tensors.set(value.name, inLayout(tensor, value.initializer, transposed, source));
    heads.push({ name: value.name, source, transposed });
  }
  const { layout } = model;
  const replace = new Map<FieldRecord, Chunk[]>();
  const apart: string[] = [];
  for (const record of layout.graph) {
    const isNode = biases.size > 0 && record.field === graphFields.node;
    const own = isNode && biases.get(decodeNodeProto(payloadOf(layout, record)).output[0] ?? "");
    if (own) replace.set(record, [...own.records, ...initializerRecord(own.tensor)]);
    if (record.field !== graphFields.initializer) continue;
    const before = decodeTensorProto(payloadOf(layout, record));
    const tensor = tensors.get(before.name);
    if (!tensor) continue;
    replace.set(record, initializerRecord(tensor, before.docString));
    if (externalReference(before)) apart.push(before.name);
  }
  return { model: Model.spliced(splice(layout, { replace }), model, apart), heads };
}

const namesOf = (value: Value): string[] => [value.name, ...foldedFrom(value)];

const isSame = (name: string, source: string): boolean =>
  name === source || name.endsWith(`.${source}`) || source.endsWith(`.${name}`);

/** Whether a matrix is stored as [in, out]: as MatMul, or Gemm without transB, reads it. */
const readsTransposed = (value: Value): boolean =>
  [...value.uses].some(
    ({ node, index }) =>
      index === 1 && (node.op === "MatMul" || (node.op === "Gemm" && !node.flag("transB"))),
  );

/** A matrix with its axes exchanged. */
export function withAxesExchanged(tensor: Tensor): Tensor {
  const [rows = 0, columns = 0] = tensor.dims;
  const before = tensor.numbers();
  const numbers = Array.from({ length: rows * columns }, (_, i) => {
    const [j, k] = [Math.floor(i / rows), i % rows];
    return before[k * columns + j] ?? 0;
  });
  return tensorOf(tensor.name, tensor.type, [columns, rows], numbers);
}

function inLayout(tensor: Tensor, own: Tensor, exchange: boolean, source: string): Tensor {
  const laid = exchange ? withAxesExchanged(tensor) : tensor;
  if (laid.dims.join() !== own.dims.join()) {
    throw new UsageError(
      `the adapter's "${source}" is [${laid.dims.join(", ")}], the model's is [${own.dims.join(", ")}]`,
    );
  }
  return laid.type === own.type
    ? laid.named(own.name)
    : tensorOf(own.name, own.type, own.dims, laid.numbers());
}

/** A bias that a layer gets for itself. */
interface OwnBias {
  /** Name of the new initializer. */
  readonly name: string;
  /** The output of the node that reads it, as the file names it. */
  readonly output: string;
  /** The records that replace the record of that node. */
  readonly records: readonly Uint8Array[];
}

/**
 * A place for the bias of a layer whose own the exporter left out, or stored once for several layers, because its numbers were zeros:
 * PyTorch's exporter on torch.export does both with heads that were never trained.
 *
 *     Gemm(x, w)  →  Gemm(x, w, bias)         MatMul(x, w)  →  Add(MatMul(x, w), bias)         Add(y, shared)  →  Add(y, bias)
 *
 * @param weight - the layer's, which no other reads
 * @returns undefined for another form of layer, or a bias that belongs to this layer alone
 */
function ownBias(graph: Graph, weight: Value): OwnBias | undefined {
  const [use, ...others] = weight.uses;
  const [product] = use?.node.outputs ?? [];
  if (!use || others.length > 0 || use.index !== 1 || !product || use.node.domain !== "") return undefined;
  const { node } = use;
  const name = graph.freshName(`${weight.name.replace(/\.?weight$/, "")}.bias`);
  const written = (...protos: ReturnType<typeof nodeToProto>[]) =>
    protos.map((proto) => bytesField(graphFields.node, encodeNodeProto(proto)));
  const reading = (reader: Node, index: number): OwnBias => {
    const proto = nodeToProto(reader);
    const input = [...(proto.input ?? [])];
    input[index] = name;
    proto.input = input;
    return { name, output: reader.outputs[0]?.name ?? "", records: written(proto) };
  };
  if (node.op === "Gemm") {
    const [, , bias] = node.inputs;
    return !bias || isShared(bias) ? reading(node, 2) : undefined;
  }
  if (node.op !== "MatMul") return undefined;
  const [reader] = [...product.uses].filter(({ node: { op } }) => op === "Add");
  const added = reader?.node.inputs[1 - reader.index];
  if (reader && added?.initializer)
    return isShared(added) ? reading(reader.node, 1 - reader.index) : undefined;
  const proto = nodeToProto(node);
  const between = graph.freshName(`${product.name}/product`);
  proto.output = [between];
  const ends = { input: [between, name], output: [product.name] };
  const sum = new onnx.NodeProto({ opType: "Add", name: graph.freshName(`${node.label}/bias`), ...ends });
  return { name, output: product.name, records: written(proto, sum) };
}

/** Whether several nodes read an initializer. */
const isShared = ({ initializer, uses }: Value): boolean => initializer !== undefined && uses.size > 1;
