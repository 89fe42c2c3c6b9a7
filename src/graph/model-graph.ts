import { checkModel } from "../onnx/check-model.ts";
import { knowsFiles, Model, type ModelSource } from "../onnx/model.ts";
import type { onnx } from "../onnx/schema.js";
import { chunkSize, storedBytes } from "../onnx/stored.ts";
import { externalReference, largeBytes } from "../onnx/tensor.ts";
import type { Graph } from "./graph.ts";
import { graphFromProto, graphToProto, type ProtoOptions } from "./proto.ts";

/**
 * A new graph of a model, which the caller may change. Its tensors are views of the model's bytes, read on first use.
 * @throws SorthError when names clash, or when a node reads a value that nothing defines
 */
export function graphOf(model: Model): Graph {
  checkModel(model);
  return graphFromProto(model.proto, model.external);
}

/**
 * The model of a graph that was made from another model. Large initializers in external files of that model are not read:
 * the new model refers to the same files, and what got new numbers goes into a file of its own when it is written. If that model's
 * files are not known (it was made from bytes), the new one contains all its data.
 * @param source - the model whose tensors the graph holds
 */
export function modelOf(graph: Graph, source: ModelSource, options: ProtoOptions = {}): Model {
  const keepExternal = knowsFiles(source);
  const proto = graphToProto(graph, { ...options, keepExternal });
  const model = Model.fromProto(proto, keepExternal ? source : {});
  return keepExternal && source instanceof Model ? model.withApart(renewed(proto, source)) : model;
}

/** Names of the large initializers that lay outside the source's file, and have other numbers in the new model. */
function renewed({ graph }: onnx.ModelProto, source: Model): string[] {
  const outside = new Set(source.apart);
  for (const tensor of source.proto.graph?.initializer ?? [])
    if (externalReference(tensor)) outside.add(tensor.name ?? "");
  return (graph?.initializer ?? []).flatMap((tensor) => {
    if (!outside.has(tensor.name ?? "") || externalReference(tensor)) return [];
    const stored = storedBytes(tensor);
    const size = stored ? chunkSize(stored) : (tensor.rawData?.length ?? 0);
    return size >= largeBytes ? [tensor.name ?? ""] : [];
  });
}
