import { expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModel, freeBatch, Model } from "../../src/index.ts";
import { inlineExternal } from "../../src/onnx/inline-external.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { runModel } from "../helpers/run-model.ts";

it("a model whose weights are given by a reader and not by a file keeps them outside", async () => {
  const b = new GraphBuilder(18);
  b.output(b.op("MatMul", [b.input("x", [1, 2]), b.weight("w", [2, 2])], "y"));
  const proto = graphToProto(b.graph, { irVersion: 8 });
  const weight = proto.graph?.initializer?.[0];
  if (!weight) throw new Error("no weight");
  const numbers = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
  Object.assign(weight, {
    ...{ rawData: new Uint8Array(), dataLocation: 1 },
    externalData: [{ key: "location", value: "weights.bin" }],
  });
  const model = Model.fromBytes(encodeModel(Model.fromProto(proto)), { external: () => numbers });
  const freed = await freeBatch(model, {});
  expect([...freed.externalLocations]).toEqual(["weights.bin"]);
  const x = Tensor.float("x", [3, 2], Float32Array.of(1, 0, 0, 1, 1, 1));
  const { y } = await runModel(encodeModel(inlineExternal(freed)), { x });
  expect(y?.dims).toEqual([3, 2]);
  expect(y?.numbers()).toEqual([1, 2, 3, 4, 4, 6]);
});
