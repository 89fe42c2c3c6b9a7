import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/onnx/model.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { labels, uniform } from "../helpers/lcg.ts";

/** Penalties that a model can be trained with, as the command line has them: each by its defaults, and every form of SOM. */
export const trainedPenalties: readonly string[] = [
  "som",
  "som:rows=random,directions=16",
  "som:angles=weights",
  "som:center=true,maxRows=5,seed=2",
  "som:scale=rms,gamma=2",
  "som:bias=remove",
  ...["so", "spectral-so", "dso", "biggan", "mc", "srip", "ocnn", "keras", "mhe", "mma", "lorth"],
  ...["decov", "barlow", "vicreg"],
];

const forms = trainedPenalties.filter((text) => text.startsWith("som"));
const others = trainedPenalties.filter((text) => !text.startsWith("som"));

/** The same in groups of several at once, a form of SOM and some others: a software GPU takes seconds to compile the shaders of a graph. */
export const penaltyGroups: readonly (readonly string[])[] = forms.map((form, i) => [
  form,
  ...others.filter((_, j) => j % forms.length === i),
]);

/**
 * Every kind of layer, small: x [batch, 2, 6, 6] → Conv c1 (4 units, bias) → Relu → Conv c2 (6 units, 2 groups, stride 2) →
 * Relu → Flatten → MatMul m (8 units) + bias → Relu → Gemm fc (5 units, bias) → logits.
 */
export function smallNetwork(options: { readonly opset?: number; readonly batch?: number } = {}): Model {
  const b = new GraphBuilder(options.opset ?? 17);
  const x = b.input("x", [options.batch ?? "batch", 2, 6, 6]);
  const c1 = b.op("Conv", [x, b.weight("c1.weight", [4, 2, 3, 3]), b.weight("c1.bias", [4])], "c1", {
    pads: [1, 1, 1, 1],
  });
  const c2 = b.op("Conv", [b.op("Relu", [c1], "a1"), b.weight("c2.weight", [6, 2, 3, 3])], "c2", {
    strides: [2, 2],
    group: 2,
  });
  const flat = b.op("Flatten", [b.op("Relu", [c2], "a2")], "flat");
  const product = b.op("MatMul", [flat, b.weight("m.weight", [24, 8])], "m");
  const m = b.op("Add", [product, b.weight("m.bias", [8])], "m.sum");
  const gemm = [b.op("Relu", [m], "a3"), b.weight("fc.weight", [5, 8]), b.weight("fc.bias", [5])];
  const logits = b.op("Gemm", gemm, "fc", { transB: 1 });
  logits.type = "float";
  logits.declared = [options.batch ?? "batch", 5];
  return Model.fromProto(graphToProto(b.output(logits)));
}

/** Samples for {@link smallNetwork}: numbers and classes of one batch. */
export function smallBatch(index: number, batch: number): { x: Float32Array; y: number[] } {
  return { x: uniform(`small.x.${index}`, batch * 72), y: labels(`small.y.${index}`, batch, 5) };
}
