import Long from "long";
import type { Node, Value } from "../graph/node.ts";
import { nodesInOrder } from "../graph/order.ts";
import { nodeToProto, opsetImport, valueInfo } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { DataType } from "../onnx/data-types.ts";
import { onnx } from "../onnx/schema.js";
import type { Tensor } from "../onnx/tensor.ts";
import { addedTo, weightOf } from "../penalties/layer.ts";
import type { VerifyRun } from "./run.ts";
import { type InjectedSite, type LayerTensors, nameInBlock } from "./sites.ts";

/** The part of an injected model that computes one site's scalar from the site's numbers. */
interface BlockAlone {
  readonly bytes: Uint8Array;
  /** Response, weight, bias and the model's inputs, as far as the block reads them. */
  readonly feeds: ReadonlyMap<string, Tensor>;
}

/**
 * Cuts out the nodes that compute a value, back to the response, the weight and the bias of its site. Parts that read
 * anything else are kept unchanged, so a block that reads a copy of the responses does not move with them.
 */
export function blockAlone(run: VerifyRun, injected: InjectedSite, tensors: LayerTensors): BlockAlone {
  const { graph, model } = run;
  const { site, marked } = injected;
  const output = marked.value;
  const fed = new Map<string, Tensor>();
  const feed = (value: Value | undefined, tensor: Tensor | undefined) => {
    if (value && tensor) fed.set(nameInBlock(injected, value), tensor);
  };
  feed(site.response, tensors.response);
  feed(weightOf(site), tensors.weight);
  feed(addedTo(site)?.value, tensors.bias);
  const nodes = new Set<Node>();
  const inputs = new Map<string, Value>();
  const constants = new Map<string, Tensor>();
  const open = [graph.valueNamed(output)];
  for (let value = open.pop(); value; value = open.pop()) {
    const { name, producer, initializer } = value;
    if (fed.has(name)) inputs.set(name, value);
    else if (producer) {
      if (nodes.has(producer)) continue;
      nodes.add(producer);
      for (const input of [...producer.inputs, ...producer.captures]) if (input) open.push(input);
    } else if (initializer) constants.set(name, initializer);
    else inputs.set(name, value);
  }
  const bytes = encodeModelProto(
    new onnx.ModelProto({
      irVersion: Long.fromNumber(Math.max(Number(model.proto.irVersion ?? 4), 4)),
      opsetImport: opsetImport(graph),
      functions: [...graph.functions],
      graph: new onnx.GraphProto({
        name: "penalty",
        node: nodesInOrder(nodes).map(nodeToProto),
        input: [...inputs].map(([name, value]) => {
          const tensor = fed.get(name);
          return tensor ? inputInfo(name, tensor) : valueInfo(value);
        }),
        initializer: [...constants].map(([name, tensor]) => tensor.named(name).toProto()),
        output: [new onnx.ValueInfoProto({ name: output })],
      }),
    }),
  );
  const known = new Map([...run.feeds, ...fed]);
  return { bytes, feeds: new Map([...known].filter(([name]) => inputs.has(name))) };
}

/** An input of the tensor's type, with a free length on every axis. */
function inputInfo(name: string, { type, dims }: Tensor): onnx.ValueInfoProto {
  return new onnx.ValueInfoProto({
    name,
    type: { tensorType: { elemType: DataType[type], shape: { dim: dims.map(() => ({})) } } },
  });
}
