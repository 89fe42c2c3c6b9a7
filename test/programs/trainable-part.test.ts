import { expect, it } from "vitest";
import type { ModelPart } from "../../src/analysis/model-part.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { type Model as AnyModel, Model, readModel, replaceHead, trainablePart } from "../../src/index.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** A stem, blocks of two layers named as in `names`, and a classifier in a Sequential. */
function network(names: readonly string[]): AnyModel {
  const b = new GraphBuilder(18);
  const layer = (x: ReturnType<GraphBuilder["op"]>, name: string) =>
    b.op(
      "Relu",
      [b.op("Gemm", [x, b.weight(`${name}.weight`, [4, 4]), b.weight(`${name}.bias`, [4])], name)],
      `${name}.relu`,
    );
  let h = layer(b.input("x", ["batch", 4]), "stem");
  for (const name of names) h = layer(layer(h, `${name}.first`), `${name}.second`);
  const scale = b.weight("norm.weight", [4]);
  h = b.op("LayerNormalization", [h, scale, b.weight("norm.bias", [4])], "norm");
  const head = [b.weight("classifier.1.weight", [4, 3]), b.weight("classifier.1.bias", [3])];
  b.graph.addOutput(b.op("Gemm", [h, ...head], "logits"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

const numbered = network(["encoder.layer.0", "encoder.layer.1", "encoder.layer.2"]);
const stages = network(["layer1.0", "layer1.1", "layer2.0"]);
const nameless = network(["a", "b"]);
const head = ["norm.weight", "norm.bias", "classifier.1.weight", "classifier.1.bias"];
const both = (name: string) => [`${name}.weight`, `${name}.bias`];
const block = (name: string) => [...both(`${name}.first`), ...both(`${name}.second`)];

const namesIn = (model: AnyModel) => (model.proto.graph?.initializer ?? []).map(({ name }) => name ?? "");

it.each<[string, AnyModel, ModelPart, string[]]>([
  [
    "the biases",
    nameless,
    "biases",
    ["stem", "a.first", "a.second", "b.first", "b.second", "norm", "classifier.1"].map(
      (name) => `${name}.bias`,
    ),
  ],
  ["the last block", numbered, { lastBlocks: 1 }, [...block("encoder.layer.2"), ...head]],
  [
    "two blocks",
    numbered,
    { lastBlocks: 2 },
    [...block("encoder.layer.1"), ...block("encoder.layer.2"), ...head],
  ],
  ["blocks in stages", stages, { lastBlocks: 2 }, [...block("layer1.1"), ...block("layer2.0"), ...head]],
  ["layers of a model without numbers", nameless, { lastBlocks: 1 }, [...both("b.second"), ...head]],
])("%s", async (_, model, part, expected) => {
  const pattern = await trainablePart(model, part);
  expect(namesIn(model).filter((name) => pattern.test(name))).toEqual(expected);
});

it("a block has one name, whether its parameters or the paths of TorchScript's nodes tell it", async () => {
  const b = new GraphBuilder(18);
  let h = b.input("x", ["batch", 4]);
  for (const n of [0, 1, 2]) {
    // A list's name stands in front of its modules' names.
    const product = b.op("MatMul", [h, b.weight(`onnx::MatMul_${n}`, [4, 4])], `product${n}`);
    if (product.producer) product.producer.name = `/encoder/encoder.${n}/fc/MatMul`;
    h = b.op("Add", [product, b.weight(`encoder.${n}.fc.bias`, [4])], `h${n}`);
  }
  b.graph.addOutput(b.op("Gemm", [h, b.weight("head.weight", [4, 3])], "y"));
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  const pattern = await trainablePart(model, { lastBlocks: 2 });
  expect(namesIn(model).filter((name) => pattern.test(name))).toEqual([
    ...["onnx::MatMul_1", "encoder.1.fc.bias", "onnx::MatMul_2", "encoder.2.fc.bias", "head.weight"],
  ]);
  await expect(trainablePart(model, { lastBlocks: 4 })).rejects.toThrow(
    "the model has 3 blocks before its last layer (encoder.0, encoder.1, encoder.2)",
  );
});

it("the numbers of parameters that several layers had in common are no blocks", async () => {
  const b = new GraphBuilder(18);
  const shared = b.weight("stem.norm.bias", [4]);
  let h = b.input("x", ["batch", 4]);
  for (const n of [0, 1, 2]) {
    const product = b.op("Gemm", [h, b.weight(`layer.${n}.weight`, [4, 4])], `h${n}`);
    h = b.op("LayerNormalization", [product, b.weight(`layer.${n}.norm.weight`, [4]), shared], `n${n}`);
  }
  b.graph.addOutput(b.op("Gemm", [h, b.weight("head.weight", [4, 3])], "y"));
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  await expect(trainablePart(model, { lastBlocks: 4 })).rejects.toThrow(
    "the model has 3 blocks before its last layer (layer.0, layer.1, layer.2)",
  );
  const pattern = await trainablePart(model, { lastBlocks: 1 });
  expect(["layer.2.weight", "layer.2.norm.weight", "stem.norm.bias/3", "head.weight"]).toEqual(
    ["layer.2.weight", "layer.1.weight", "layer.2.norm.weight", "stem.norm.bias/3", "head.weight"].filter(
      (name) => pattern.test(name),
    ),
  );
});

it("a fresh last layer is trained with the biases", async () => {
  const model = await replaceHead(nameless, { classes: 5 });
  const messages: string[] = [];
  const pattern = await trainablePart(model, "biases", {
    withHead: true,
    onMessage: (message) => messages.push(message),
  });
  const others = namesIn(model).filter((name) => pattern.test(name) && !name.endsWith(".bias"));
  expect(others).toEqual(["classifier.1.weight"]);
  expect(messages).toEqual(["trained alone: the biases and the last layer"]);
});

it("says how many blocks there are", async () => {
  await expect(trainablePart(stages, { lastBlocks: 4 })).rejects.toThrow(
    "the model has 3 blocks before its last layer (layer1.0, layer1.1, layer2.0): train 1 to 3 of them",
  );
  await expect(trainablePart(stages, { lastBlocks: 0.5 })).rejects.toThrow(/the number of blocks/);
  const b = new GraphBuilder(18);
  b.graph.addOutput(b.op("MatMul", [b.input("x", ["batch", 4]), b.weight("w", [4, 3])], "y"));
  const bare = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  await expect(trainablePart(bare, "biases")).rejects.toThrow("the model has no biases to train");
  await expect(trainablePart(await readModel("models/cnn.onnx"), { lastBlocks: 6 })).rejects.toThrow(
    /5 blocks/,
  );
});
