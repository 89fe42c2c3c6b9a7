import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodeToProto } from "../graph/proto.ts";
import { encodeNodeProto } from "../onnx/codec.ts";
import { onnx } from "../onnx/schema.js";
import { bytesField, graphFields } from "../onnx/wire.ts";

/** A bias that a layer gets for itself. */
export interface OwnBias {
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
export function ownBias(graph: Graph, weight: Value): OwnBias | undefined {
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
