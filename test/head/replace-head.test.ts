import { describe, expect, test } from "vitest";
import { conversionOf } from "../../src/data/conversion.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  crossEntropy,
  decodeModel,
  encodeModel,
  inject,
  Model,
  predict,
  readModel,
  replaceHead,
  som,
  Tensor,
  Trainer,
} from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

const modelOf = (b: GraphBuilder): Model =>
  decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 }))));

/** The layers that exporters write for a classifier of ten classes, behind `x` of [batch, 6] or of [batch, 6, 4, 4]. */
const heads: Readonly<Record<string, (b: GraphBuilder) => void>> = {
  "Gemm as PyTorch writes it": (b) => {
    const x = b.input("x", ["batch", 6]);
    b.output(b.op("Gemm", [x, b.weight("w", [10, 6]), b.weight("b", [10])], "y", { transB: 1 }));
  },
  "Gemm, its weight transposed by a node, and a Softmax": (b) => {
    const x = b.input("x", ["batch", 6]);
    const w = b.op("Transpose", [b.weight("w", [10, 6])], "wt", { perm: [1, 0] });
    b.output(b.op("Softmax", [b.op("Gemm", [x, w, b.weight("b", [1, 10])], "logits")], "y", { axis: 1 }));
  },
  "MatMul and Add, as Keras and transformers write them": (b) => {
    const x = b.input("x", ["batch", 6]);
    const product = b.op("MatMul", [x, b.weight("w", [6, 10])], "product");
    b.output(b.op("Sigmoid", [b.op("Add", [b.weight("b", [10]), product], "logits")], "y"));
  },
  "Gemm, its bias behind an Identity, as PyTorch stores equal tensors once": (b) => {
    const x = b.input("x", ["batch", 6]);
    const bias = b.op("Identity", [b.weight("b", [10])], "same");
    const h = b.op("Gemm", [x, b.weight("v", [10, 6]), b.graph.valueNamed("b")], "h", { transB: 1 });
    const y = b.op("Gemm", [b.op("Relu", [h], "r"), b.weight("w", [10, 10]), bias], "y", { transB: 1 });
    b.output(y);
  },
  "MatMul alone": (b) => {
    b.output(b.op("MatMul", [b.input("x", ["batch", 6]), b.weight("w", [6, 10])], "y"));
  },
  "Conv, pooled, as in SqueezeNet": (b) => {
    const x = b.input("x", ["batch", 6, 4, 4]);
    const scores = b.op("Conv", [x, b.weight("w", [10, 6, 1, 1]), b.weight("b", [10])], "scores");
    const pooled = b.op("GlobalAveragePool", [b.op("Relu", [scores], "r")], "p");
    b.output(b.op("Reshape", [pooled, b.int64("shape", [-1, 10])], "y"));
  },
  "a weight that two layers share": (b) => {
    const x = b.input("x", ["batch", 6]);
    const w = b.weight("w", [6, 6]);
    b.output(b.op("MatMul", [b.op("Tanh", [b.op("MatMul", [x, w], "h")], "t"), w], "y"));
  },
  "a weight in a Constant node": (b) => {
    const value = Tensor.float("", [6, 10], new Float32Array(60).fill(0.5));
    const w = b.op("Constant", [], "w", { value });
    b.output(b.op("Gemm", [b.input("x", ["batch", 6]), w], "y"));
  },
};

const numbersOf = (model: Model, name: string) =>
  Tensor.fromProto(model.proto.graph?.initializer?.find((one) => one.name === name) ?? {}).numbers();

describe("replaceHead", () => {
  for (const [title, build] of Object.entries(heads)) {
    test(`${title}: three classes, trained and used`, async () => {
      const b = new GraphBuilder(18);
      build(b);
      const model = modelOf(b);
      const names = ["cat", "dog", "fox"];
      const messages: string[] = [];
      const changed = await replaceHead(model, { classes: names, onMessage: (text) => messages.push(text) });
      expect(messages).toEqual([
        expect.stringMatching(/^new head: .* has 3 new units of (6|10) weights in the place of/),
      ]);
      expect(conversionOf(changed)?.classes).toEqual(names);
      const shape = title.startsWith("Conv") ? [6, 4, 4] : [6];
      const size = shape.reduce((a, c) => a * c, 1);
      const x = Float32Array.from({ length: 12 * size }, (_, i) => Math.sin(i * i));
      const data = arrayDataset(
        x,
        Int32Array.from({ length: 12 }, (_, i) => i % 3),
        shape,
      );
      const trainer = await Trainer.create(changed, { objective: crossEntropy(), batch: 4 });
      for await (const { loss } of trainer.fit(data)) expect(loss).toBeGreaterThan(0);
      const trained = trainer.export();
      await trainer.release();
      for await (const { scores } of predict(trained, data)) expect(scores).toHaveLength(3);
    });
  }

  test("keeps all else to the byte, draws as torch.nn.Linear does, and the same for a seed", async () => {
    const model = await readModel("models/mlp.onnx");
    const changed = await replaceHead(model, { classes: 3 });
    const [before, after] = [model, changed].map(({ proto }) => proto.graph);
    expect(after?.node).toEqual(before?.node);
    const kept = new Map(before?.initializer?.map((tensor) => [tensor.name, tensor]));
    const differing = (after?.initializer ?? []).filter((tensor) => {
      const { rawData } = kept.get(tensor.name) ?? {};
      return !equalBytes(tensor.rawData ?? new Uint8Array(), rawData ?? new Uint8Array());
    });
    expect(differing.map(({ name }) => name).sort()).toEqual(["logits.bias", "logits.weight"]);
    const weights = Array.from(numbersOf(changed, "logits.weight"));
    const bound = 1 / Math.sqrt(weights.length / 3);
    expect(Math.max(...weights.map(Math.abs))).toBeLessThan(bound);
    const rootMeanSquare = Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0) / weights.length);
    expect(rootMeanSquare / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
    expect(encodeModel(await replaceHead(model, { classes: 3 }))).toEqual(encodeModel(changed));
    const other = await replaceHead(model, { classes: 3, seed: 1 });
    expect(numbersOf(other, "logits.weight")).not.toEqual(numbersOf(changed, "logits.weight"));
  });

  test("says what it cannot replace", async () => {
    const model = await readModel("models/mlp.onnx");
    const refused = (made: Model, options: Partial<Parameters<typeof replaceHead>[1]>, reason: RegExp) =>
      expect(replaceHead(made, { classes: 3, ...options })).rejects.toThrow(reason);
    await refused(model, { classes: 0 }, /number of classes must be a whole number of 1 or more, not 0/);
    await refused(model, { classes: ["a", "a"] }, /two classes are called "a"/);
    await refused(model, { prediction: "scores" }, /no value "scores"; its outputs are/);
    await refused(await inject(model, { penalties: [som()] }), {}, /strip it first/);
    const norm = new GraphBuilder(18);
    const y = norm.op("Gemm", [norm.input("x", ["batch", 6]), norm.weight("w", [6, 10])], "y");
    norm.output(norm.op("Mul", [y, norm.weight("s", [10])], "z"));
    await refused(modelOf(norm), {}, /"z" comes out of Mul "z", and no layer .* right in front of it/);
    const quantized = new GraphBuilder(18);
    const stored = quantized.graph.addInitializer(Tensor.of("q", "int8", [6, 10], new Int8Array(60)));
    const w = quantized.op(
      "DequantizeLinear",
      [stored, quantized.graph.addInitializer(Tensor.float("s", [], [0.1]))],
      "w",
    );
    quantized.output(quantized.op("Gemm", [quantized.input("x", ["batch", 6]), w], "y"));
    await refused(modelOf(quantized), {}, /Gemm "y", cannot get new classes: its weight is quantized/);
  });
});
