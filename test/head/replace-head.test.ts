import { describe, expect, test } from "vitest";
import { conversionOf } from "../../src/data/conversion.ts";
import type { Value } from "../../src/graph/node.ts";
import {
  arrayDataset,
  crossEntropy,
  encodeModel,
  inject,
  type Model,
  predict,
  readModel,
  replaceHead,
  som,
  Tensor,
  Trainer,
} from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";

interface Classifier {
  /** Of a sample of `x`, [6] if nothing else is said. */
  readonly shape?: readonly number[];
  readonly opset?: number;
  readonly build: (b: GraphBuilder) => void;
  /** Labels of a sample, if there are several. */
  readonly labels?: number;
  /** What predict gives for a sample; default: a score for each class, or a class for each label. */
  readonly scores?: number;
}

/** The layers that exporters write for a classifier of ten classes. */
const heads: Readonly<Record<string, ((b: GraphBuilder) => void) | Classifier>> = {
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
  "MatMul and Add with Casts between, as Keras's own exporter writes them": (b) => {
    const x = b.op("Cast", [b.input("x", ["batch", 6])], "c", { to: 1 });
    const product = b.op("Cast", [b.op("MatMul", [x, b.weight("w", [6, 10])], "product")], "p", { to: 1 });
    const logits = b.op("Cast", [b.op("Add", [product, b.weight("b", [10])], "logits")], "l", { to: 1 });
    b.output(b.op("Softmax", [logits], "y", { axis: -1 }));
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
  "Conv, pooled, as in SqueezeNet": {
    shape: [6, 4, 4],
    build: (b) => {
      const x = b.input("x", ["batch", 6, 4, 4]);
      const scores = b.op("Conv", [x, b.weight("w", [10, 6, 1, 1]), b.weight("b", [10])], "scores");
      const pooled = b.op("GlobalAveragePool", [b.op("Relu", [scores], "r")], "p");
      b.output(b.op("Reshape", [pooled, b.int64("shape", [-1, 10])], "y"));
    },
  },
  "Conv, resized to a height that is the number of classes, as in fully convolutional networks": {
    ...{ shape: [6, 5, 4], labels: 80, scores: 3 * 80 },
    build: (b) => {
      const x = b.input("x", [4, 6, 5, 4]);
      const scores = b.op("Conv", [x, b.weight("w", [10, 6, 1, 1]), b.weight("b", [10])], "scores");
      const none = b.graph.addInitializer(Tensor.float("none", [0], []));
      b.output(
        b.op("Resize", [scores, none, none, b.int64("shape", [4, 10, 10, 8])], "y", { mode: "linear" }),
      );
    },
  },
  "Conv on NHWC images, as in Keras's MobileNet": {
    shape: [4, 4, 6],
    build: (b) => {
      const image = b.op("Transpose", [b.input("x", ["batch", 4, 4, 6])], "image", { perm: [0, 3, 1, 2] });
      const pooled = b.op("GlobalAveragePool", [image], "pooled");
      const scores = b.op("Conv", [pooled, b.weight("w", [10, 6, 1, 1]), b.weight("b", [10])], "scores");
      b.output(b.op("Softmax", [b.op("Reshape", [scores, b.int64("shape", [-1, 10])], "flat")], "y"));
    },
  },
  "Keras's Dense on sequences": {
    ...{ shape: [4, 6], labels: 4 },
    build: (b) => {
      const x = b.input("x", ["batch", 4, 6]);
      const rows = b.op("Reshape", [x, b.int64("rows", [-1, 6])], "r");
      const product = b.op("MatMul", [rows, b.weight("w", [6, 10])], "product");
      const lengths = b.op("Slice", [b.op("Shape", [x], "s"), b.int64("0", [0]), b.int64("2", [2])], "free");
      const shape = b.op("Concat", [lengths, b.int64("units", [10])], "shape", { axis: 0 });
      const scores = b.op("Reshape", [product, shape], "scores");
      const logits = b.op("Add", [scores, b.weight("b", [10])], "logits");
      b.output(b.op("Softmax", [logits], "y", { axis: -1 }));
    },
  },
  "a free number of tokens, as in BERT": {
    shape: [5, 6],
    build: (b) => {
      const x = b.input("x", ["batch", "tokens", 6]);
      const first = b.op("Gather", [x, b.int64("0", 0)], "first", { axis: 1 });
      const pooled = b.op("Tanh", [b.op("MatMul", [first, b.weight("v", [6, 6])], "p")], "pooled");
      b.output(b.op("Gemm", [pooled, b.weight("w", [10, 6]), b.weight("b", [10])], "y", { transB: 1 }));
    },
  },
  "a label beside the scores, as skl2onnx writes an MLPClassifier": (b) => {
    const h = b.op("Relu", [b.op("MatMul", [b.input("x", ["batch", 6]), b.weight("v", [6, 6])], "m")], "h");
    const product = b.op("MatMul", [h, b.weight("w", [6, 10])], "product");
    const scores = b.op("Softmax", [b.op("Add", [product, b.weight("b", [1, 10])], "sum")], "y");
    const label = b.op("ArgMax", [scores], "label", { axis: 1, keepdims: 0 });
    [label.type, scores.type] = ["int64", "float"];
    b.output(label, scores);
  },
  "scores under a soft cap, as in Gemma 2, and with a temperature, as in Granite": (b) => {
    const logits = b.op("MatMul", [b.input("x", ["batch", 6]), b.weight("w", [6, 10])], "logits");
    const cap = b.graph.addInitializer(Tensor.float("cap", [], [2]));
    b.output(b.op("Mul", [cap, b.op("Tanh", [b.op("Div", [logits, cap], "d")], "t")], "y"));
  },
  "the scores of one token of each sequence, as in GPT-2": {
    shape: [4, 6],
    build: (b) => {
      const x = b.input("x", ["batch", 4, 6]);
      const scores = b.op("MatMul", [x, b.weight("w", [6, 10])], "scores");
      const sums = b.op("ReduceSum", [x, b.int64("axis", [2])], "sums", { keepdims: 0 });
      const last = b.op("ArgMax", [sums], "last", { axis: 1, keepdims: 1 });
      b.output(b.op("GatherND", [scores, last], "y", { batch_dims: 1 }));
    },
  },
  "Softmax of opset 11": {
    opset: 11,
    build: (b) => {
      const inputs = [b.input("x", ["batch", 6]), b.weight("w", [6, 10]), b.weight("b", [10])];
      b.output(b.op("Softmax", [b.op("Gemm", inputs, "logits")], "y"));
    },
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
  "a weight and a bias in Constant nodes": (b) => {
    const [w, bias] = [[6, 10], [10]].map((dims, i) =>
      b.op("Constant", [], i === 0 ? "w" : "b", {
        value: Tensor.float("", dims, new Float32Array(dims[0] === 6 ? 60 : 10).fill(0.5)),
      }),
    ) as [Value, Value];
    b.output(b.op("Gemm", [b.input("x", ["batch", 6]), w, bias], "y"));
  },
  "a weight and a bias that another layer reads too": (b) => {
    const both = [b.weight("w", [6, 6]), b.weight("b", [6])];
    const hidden = b.op("Tanh", [b.op("Gemm", [b.input("x", ["batch", 6]), ...both], "h")], "t");
    b.output(b.op("Gemm", [hidden, ...both], "y"));
  },
};

const numbersOf = (model: Model, name: string) =>
  Tensor.fromProto(model.proto.graph?.initializer?.find((one) => one.name === name) ?? {}).numbers();

/** The initializers of a model that another one does not have, or has with other numbers. */
function differing(before: Model, after: Model): string[] {
  const kept = new Map(before.proto.graph?.initializer?.map((tensor) => [tensor.name, tensor]));
  return (after.proto.graph?.initializer ?? []).flatMap((tensor) => {
    const { rawData } = kept.get(tensor.name) ?? {};
    return equalBytes(tensor.rawData ?? new Uint8Array(), rawData ?? new Uint8Array())
      ? []
      : [tensor.name ?? ""];
  });
}

describe("replaceHead", () => {
  for (const [title, made] of Object.entries(heads)) {
    const {
      shape = [6],
      opset = 18,
      labels = 1,
      scores: count,
      build,
    } = typeof made === "object" ? made : { build: made };
    test(`${title}: three classes, trained and used`, async () => {
      const b = new GraphBuilder(opset);
      build(b);
      const model = builtModel(b);
      const names = ["cat", "dog", "fox"];
      const messages: string[] = [];
      const changed = await replaceHead(model, { classes: names, onMessage: (text) => messages.push(text) });
      expect(messages).toEqual([
        expect.stringMatching(/^new head: .* has 3 new units of (6|10) weights in the place of/),
      ]);
      expect(conversionOf(changed)?.classes).toEqual(names);
      const fresh = differing(model, changed);
      for (const name of fresh) expect(name).toMatch(/^(w|b|same|shape|units)(\.head)?$/);
      const size = shape.reduce((a, c) => a * c, 1);
      const x = Float32Array.from({ length: 12 * size }, (_, i) => Math.sin(i * i));
      const y = Int32Array.from({ length: 12 * labels }, (_, i) => i % 3);
      const data = arrayDataset(x, y, shape, labels === 1 ? {} : { targetShape: [labels] });
      const options = {
        objective: crossEntropy({ labelPlaces: labels === 1 ? 0 : labels }),
        ...{ batch: 4, ...(title.includes("tokens") && { dims: { tokens: 5 } }) },
      };
      const whole = await Trainer.create(changed, options);
      for await (const { loss } of whole.fit(data)) expect(loss).toBeGreaterThan(0);
      await whole.release();
      const trainable = new RegExp(`^(${fresh.join("|")})$`);
      const trainer = await Trainer.create(changed, { ...options, trainable });
      for await (const { loss } of trainer.fit(data)) expect(loss).toBeGreaterThan(0);
      const trained = trainer.export();
      await trainer.release();
      expect(trained.proto.graph?.node).toEqual(changed.proto.graph?.node);
      const moved = differing(changed, trained);
      expect(moved).toContain(fresh.find((name) => name.startsWith("w")));
      expect(moved.filter((name) => !fresh.includes(name))).toEqual([]);
      for await (const { scores } of predict(trained, data))
        expect(scores).toHaveLength(count ?? (labels === 1 ? 3 : labels));
    });
  }

  test("keeps all else to the byte, draws as torch.nn.Linear does, and the same for a seed", async () => {
    const model = await readModel("models/mlp.onnx");
    const changed = await replaceHead(model, { classes: 3 });
    const [before, after] = [model, changed].map(({ proto }) => proto.graph);
    expect(after?.node).toEqual(before?.node);
    expect(differing(model, changed).sort()).toEqual(["logits.bias", "logits.weight"]);
    const weights = Array.from(numbersOf(changed, "logits.weight"));
    const bound = 1 / Math.sqrt(weights.length / 3);
    expect(Math.max(...weights.map(Math.abs))).toBeLessThan(bound);
    const rootMeanSquare = Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0) / weights.length);
    expect(rootMeanSquare / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
    expect(encodeModel(await replaceHead(model, { classes: 3 }))).toEqual(encodeModel(changed));
    const other = await replaceHead(model, { classes: 3, seed: 1 });
    expect(numbersOf(other, "logits.weight")).not.toEqual(numbersOf(changed, "logits.weight"));
  });

  test("gives both layers new classes where their sum is read, as in LeViT", async () => {
    const b = new GraphBuilder(18);
    const x = b.input("x", ["batch", 6]);
    const [one, other] = ["a", "d"].map((name) =>
      b.op("Gemm", [x, b.weight(`${name}.w`, [10, 6]), b.weight(`${name}.b`, [10])], name, { transB: 1 }),
    );
    const half = b.graph.addInitializer(Tensor.float("two", [], [2]));
    if (one && other) b.output(b.op("Div", [b.op("Add", [one, other], "sum"), half], "y"));
    const model = builtModel(b);
    const messages: string[] = [];
    const changed = await replaceHead(model, { classes: 3, onMessage: (text) => messages.push(text) });
    expect(messages).toHaveLength(2);
    expect(differing(model, changed).sort()).toEqual(["a.b", "a.w", "d.b", "d.w"]);
    expect(numbersOf(changed, "a.w")).not.toEqual(numbersOf(changed, "d.w"));
    const data = arrayDataset(new Float32Array(12).fill(1), Int32Array.of(0, 2), [6]);
    for await (const { scores } of predict(changed, data)) expect(scores).toHaveLength(3);
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
    await refused(builtModel(norm), {}, /"z" comes out of Mul "z", and no layer .* right in front of it/);
    const picked = new GraphBuilder(18);
    const all = picked.op("MatMul", [picked.input("x", ["batch", 6]), picked.weight("w", [6, 10])], "all");
    picked.output(picked.op("Gather", [all, picked.int64("some", [1, 2])], "z", { axis: 1 }));
    await refused(
      builtModel(picked),
      {},
      /cannot have 3 classes: .* counts on 10 .it reads some of them alone/,
    );
    const row = new GraphBuilder(18);
    const input = row.input("x", ["batch", 6]);
    const [left, right] = ["w", "v"].map((name) =>
      row.op("MatMul", [input, row.weight(name, [6, 10])], `of ${name}`),
    );
    if (left && right) row.output(row.op("Concat", [left, right], "z", { axis: 1 }));
    await refused(builtModel(row), {}, /cannot have 3 classes: .* in a row/);
    const scaled = new GraphBuilder(18);
    const direction = scaled.op("Mul", [scaled.weight("v", [6, 10]), scaled.weight("g", [1, 10])], "w");
    scaled.output(scaled.op("MatMul", [scaled.input("x", ["batch", 6]), direction], "y"));
    await refused(
      builtModel(scaled),
      {},
      /MatMul "y", cannot .* its weight is computed \(Mul\), as weight_norm/,
    );
    const quantized = new GraphBuilder(18);
    const stored = quantized.graph.addInitializer(Tensor.of("q", "int8", [6, 10], new Int8Array(60)));
    const w = quantized.op(
      "DequantizeLinear",
      [stored, quantized.graph.addInitializer(Tensor.float("s", [], [0.1]))],
      "w",
    );
    quantized.output(quantized.op("Gemm", [quantized.input("x", ["batch", 6]), w], "y"));
    const maps = new GraphBuilder(18, { "ai.onnx.ml": 3 });
    const p = maps.op("MatMul", [maps.input("x", ["batch", 6]), maps.weight("w", [6, 3])], "p");
    const ofClasses = { classlabels_int64s: [0, 1, 2] };
    maps.output(maps.op("ZipMap", [p], "probability", ofClasses, "ai.onnx.ml"));
    await refused(builtModel(maps), {}, /maps from names to numbers .*"zipmap": False/);
    await refused(builtModel(quantized), {}, /Gemm "y", cannot get new classes: its weight is quantized/);
    const rounded = new GraphBuilder(18);
    const bytes = rounded.graph.addInitializer(Tensor.of("q", "uint8", [6, 10], new Uint8Array(60)));
    const [levels, scale] = rounded.many(
      "DynamicQuantizeLinear",
      [rounded.input("x", ["batch", 6])],
      ["l", "s", "z"],
    );
    const sums = rounded.op("MatMulInteger", [levels as Value, bytes], "sums");
    const numbers = rounded.op("Mul", [rounded.op("Cast", [sums], "c", { to: 1 }), scale as Value], "n");
    rounded.output(rounded.op("Add", [numbers, rounded.weight("b", [10])], "y"));
    await refused(builtModel(rounded), {}, /"y" comes out of a quantized layer \(MatMulInteger "sums"\)/);
  });
});
