import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/index.ts";
import { GraphBuilder } from "./build-graph.ts";

/** Features of {@link leakModel}. Parameters and momentum take 0.4 MiB, so a leak of one state per step takes 120 MiB in 300. */
export const leakWidth = 224;

/** A network small enough for a software GPU, with enough state to show whether a step releases it. */
export function leakModel(): Model {
  const b = new GraphBuilder(18);
  const x = b.input("x", ["batch", leakWidth]);
  const weight = b.weight("w1", [leakWidth, leakWidth]);
  const h = b.op("Relu", [b.op("Gemm", [x, weight, b.weight("b1", [leakWidth])], "fc1")], "a");
  b.graph.addOutput(b.op("Gemm", [h, b.weight("w2", [leakWidth, 10]), b.weight("b2", [10])], "logits"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}
