import { Model, type ModelSource } from "../onnx/model.ts";
import type { Graph } from "./graph.ts";
import { graphFromProto, graphToProto, type ProtoOptions } from "./proto.ts";

/**
 * A fresh graph of a model, free to be changed; its tensors are views of the model's bytes, read when first used.
 * @throws SorthError when names clash, or a node reads a value that nothing defines.
 */
export function graphOf(model: Model): Graph {
  return graphFromProto(model.proto, model.external);
}

/**
 * The model of a graph that was made from another model. Large initializers that lie in files beside that model stay
 * there and are never read: the new model refers to the same files. A model that was not read from a path holds all of
 * its data itself.
 * @param source - the model whose tensors the graph holds
 */
export function modelOf(graph: Graph, source: ModelSource, options: ProtoOptions = {}): Model {
  const keepExternal = source.path !== undefined;
  const proto = graphToProto(graph, { ...options, keepExternal });
  return Model.fromProto(proto, keepExternal ? source : {});
}
