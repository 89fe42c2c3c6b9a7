import { Model, type ModelSource } from "../onnx/model.ts";
import type { Graph } from "./graph.ts";
import { graphFromProto, graphToProto, type ProtoOptions } from "./proto.ts";

/**
 * A new graph of a model, which the caller may change. Its tensors are views of the model's bytes, read on first use.
 * @throws SorthError when names clash, or when a node reads a value that nothing defines
 */
export function graphOf(model: Model): Graph {
  return graphFromProto(model.proto, model.external);
}

/**
 * The model of a graph that was made from another model. Large initializers in external files of that model are not read:
 * the new model refers to the same files. If that model was not read from a path, the new one contains all its data.
 * @param source - the model whose tensors the graph holds
 */
export function modelOf(graph: Graph, source: ModelSource, options: ProtoOptions = {}): Model {
  const keepExternal = source.path !== undefined;
  const proto = graphToProto(graph, { ...options, keepExternal });
  return Model.fromProto(proto, keepExternal ? source : {});
}
