import type { Model } from "../onnx/model.ts";
import type { Graph } from "./graph.ts";
import { graphFromProto } from "./proto.ts";

/**
 * A fresh graph of a model, free to be changed; its tensors are views of the model's bytes, read when first used.
 * @throws SorthError when names clash, or a node reads a value that nothing defines.
 */
export function graphOf(model: Model): Graph {
  return graphFromProto(model.proto, model.external);
}
