import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/onnx/model.ts";
import { GraphBuilder } from "./build-graph.ts";

/** The bytes of a model of one node: y = x + x, for x of [2]. */
export function addition(): Uint8Array {
  const b = new GraphBuilder(18);
  const x = b.input("x", [2]);
  b.graph.addOutput(b.op("Add", [x, x], "y"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 })).bytes;
}
