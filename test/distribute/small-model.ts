import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** Two layers with Dropout between them, on six numbers; three classes. With `norm` also a BatchNorm behind the first one. */
export function smallModel(batch: string | number = "batch", norm = false): Model {
  const b = new GraphBuilder(18);
  const x = b.input("x", [batch, 6]);
  let h = b.op("Gemm", [x, b.weight("fc1.weight", [6, 8]), b.weight("fc1.bias", [8])], "fc1");
  if (norm) {
    const vector = (name: string, value: number) =>
      b.graph.addInitializer(Tensor.float(`bn.${name}`, [8], Array(8).fill(value)));
    const of = [vector("weight", 1), vector("bias", 0), vector("running_mean", 0), vector("running_var", 1)];
    h = b.op("BatchNormalization", [h, ...of], "bn");
  }
  const ratio = b.graph.addInitializer(Tensor.float("ratio", [], [0.25]));
  const kept = b.op("Relu", [b.op("Dropout", [h, ratio], "drop")], "relu");
  b.graph.addOutput(
    b.op("Gemm", [kept, b.weight("fc2.weight", [8, 3]), b.weight("fc2.bias", [3])], "logits"),
  );
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}
