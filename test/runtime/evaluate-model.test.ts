import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  binaryCrossEntropy,
  crossEntropy,
  decodeModel,
  evaluateModel,
  graphOf,
  inject,
  Model,
  meanSquaredError,
  predict,
  som,
  Trainer,
} from "../../src/index.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";

const mlp = decodeModel(readFileSync("models/mlp.onnx"));
const cnn = decodeModel(readFileSync("models/cnn.onnx"));
const images = (size: number) =>
  arrayDataset(
    randomFloats("images", size * 784, 0, 1),
    Int32Array.from(randomInts("classes", size, 0, 10)),
    [...[1, 28, 28]],
  );

/** y = x·w of three numbers, with an end of its own. */
function linear(units: number, end?: "Softmax" | "Sigmoid", batch: number | string = "N"): Model {
  const b = new GraphBuilder();
  const y = b.op("MatMul", [b.input("x", [batch, 3]), b.weight("w", [3, units])], "y");
  return Model.fromProto(graphToProto(b.output(end ? b.op(end, [y], "p") : y), { irVersion: 8 }));
}
const linearWeight = (model: Model): number[] =>
  Array.from(graphOf(model).valueNamed("w").initializer?.numbers() ?? [], Number);
const points = (size: number) => randomFloats("points", size * 3, -1, 1);

async function all(model: Model, data: ReturnType<typeof arrayDataset>, options = {}) {
  const found = [];
  for await (const one of predict(model, data, options)) found.push(one);
  return found;
}

describe("evaluateModel", () => {
  it.each([
    ["mlp", mlp],
    ["cnn, with BatchNormalization", cnn],
  ])("gives the figures that a trainer gives: %s", async (_, model) => {
    const data = images(70);
    const trainer = await Trainer.create(model, { objective: crossEntropy(), batch: 16 });
    const expected = await trainer.evaluate(data);
    await trainer.release();
    const { loss, accuracy, samples, classes } = await evaluateModel(model, data, { batch: 32 });
    expect(loss).toBeCloseTo(expected.loss, 5);
    expect({ accuracy, samples }).toEqual({ accuracy: expected.accuracy, samples: 70 });
    expect(classes?.rows).toBe(70);
  });

  it("is not changed by an injected penalty, nor by a batch that the model fixes", async () => {
    const data = images(20);
    const plain = await evaluateModel(mlp, data);
    expect(await evaluateModel(await inject(mlp, { penalties: [som()] }), data)).toEqual(plain);
    const labels = Int32Array.from(randomInts("y", 10, 0, 2));
    const few = arrayDataset(points(10), labels, [3]);
    const free = await evaluateModel(linear(2), few, { batch: 10 });
    expect((await evaluateModel(linear(2, undefined, 4), few)).loss).toBeCloseTo(free.loss, 6);
    await expect(evaluateModel(linear(2, undefined, 4), few, { batch: 3 })).rejects.toThrow("--batch 4");
  });

  it("lists the samples with the highest loss, highest first", async () => {
    const { worst } = await evaluateModel(mlp, images(30), { worst: 4 });
    const { worst: whole } = await evaluateModel(mlp, images(30), { worst: 30 });
    expect(worst).toEqual(whole.slice(0, 4));
    expect(whole.map(({ loss }) => loss)).toEqual(whole.map(({ loss }) => loss).sort((a, b) => b - a));
    expect(new Set(whole.map(({ sample }) => sample)).size).toBe(30);
  });

  it("weighs rows by their class, as the loss does, in the mean alone", async () => {
    const data = arrayDataset(points(20), Int32Array.from(randomInts("weighted", 20, 0, 2)), [3]);
    const weights = [1, 5];
    const objective = crossEntropy({ classWeights: weights });
    const { loss, accuracy, worst } = await evaluateModel(linear(2), data, { objective, worst: 20 });
    const plain = await evaluateModel(linear(2), data, { worst: 20 });
    const weightOf = ({ label = Number.NaN }: { label?: number }) => weights[label] ?? Number.NaN;
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    const weighted = plain.worst.map((sample) => weightOf(sample) * sample.loss);
    expect(loss).toBeCloseTo(sum(weighted) / sum(plain.worst.map(weightOf)), 10);
    expect(loss).not.toBeCloseTo(plain.loss, 3);
    expect(accuracy).toBe(plain.accuracy);
    expect(worst).toEqual(plain.worst.map((one) => ({ ...one, loss: expect.closeTo(one.loss, 12) })));
  });

  it("of samples whose class has no weight is 0, not NaN", async () => {
    const data = arrayDataset(points(20), Int32Array.from(randomInts("weighted", 20, 0, 2)), [3]);
    const objective = crossEntropy({ classWeights: [0, 1] });
    const { worst } = await evaluateModel(linear(2), data, { objective, worst: 20 });
    expect(worst.filter(({ label }) => label === 0).map(({ loss }) => loss)).toContain(0);
    expect(worst.every(({ loss }) => Number.isFinite(loss))).toBe(true);
  });

  it("of numbers and of yes-or-no labels has their own figures", async () => {
    const x = points(12);
    const [y] = [
      await all(linear(2), arrayDataset(x, new Int32Array(12), [3]), { objective: meanSquaredError() }),
    ];
    const targets = Float32Array.from(y.flatMap(({ scores }) => scores.map((value) => value + 0.5)));
    const numbers = await evaluateModel(linear(2), arrayDataset(x, targets, [3]), {
      objective: meanSquaredError(),
    });
    expect(numbers.loss).toBeCloseTo(0.25, 5);
    expect(numbers.numbers).toMatchObject({ mae: expect.closeTo(0.5, 5), rows: 12 });
    expect(numbers).not.toHaveProperty("accuracy");
    const labels = Float32Array.from(y.flatMap(({ scores }) => scores.map((value) => (value > 0 ? 1 : 0))));
    const yes = await evaluateModel(linear(2, "Sigmoid"), arrayDataset(x, labels, [3]), {
      objective: binaryCrossEntropy(),
    });
    expect(yes).toMatchObject({ accuracy: 1, labels: { macro: { auc: 1, f1: 1 } } });
  });

  it("counts every place of a sequence, and says the perplexity", async () => {
    const b = new GraphBuilder();
    const y = b.op("MatMul", [b.input("x", ["N", 2, 3]), b.weight("w", [3, 4])], "y");
    const model = Model.fromProto(graphToProto(b.output(y), { irVersion: 8 }));
    const data = arrayDataset(points(10), Int32Array.from([0, 1, 2, 3, -100, 1, 2, 0, 1, 3]), [2, 3]);
    const objective = crossEntropy({ classAxis: -1, ignoreIndex: -100 });
    const { loss, perplexity, classes } = await evaluateModel(model, data, { objective });
    expect(perplexity).toBeCloseTo(Math.exp(loss), 10);
    expect(classes?.rows).toBe(9);
  });

  it("refuses data without labels, and labels that are no classes", async () => {
    const b = arrayDataset(points(4), Int32Array.from([0, 1, 2, 7]), [3]);
    await expect(evaluateModel(linear(2), b)).rejects.toThrow(/label/);
    const { labels: _, ...rest } = b;
    const none = { ...rest, y: { type: "none" as const, shape: [] } };
    await expect(evaluateModel(linear(2), none)).rejects.toThrow("has no labels");
  });

  it("refuses one number for a whole batch, and so does predict", async () => {
    const b = new GraphBuilder();
    const sum = b.op("ReduceSum", [b.input("x", ["N", 3])], "sum", { keepdims: 0 });
    const model = Model.fromProto(graphToProto(b.output(sum), { irVersion: 8 }));
    const data = arrayDataset(points(4), Int32Array.from([0, 1, 1, 0]), [3]);
    const said = '"sum" is one number for all samples of a batch';
    await expect(evaluateModel(model, data)).rejects.toThrow(said);
    await expect(all(model, data)).rejects.toThrow(said);
  });
});

describe("predict", () => {
  it("gives probabilities and the class, of scores as of a Softmax", async () => {
    const data = arrayDataset(points(5), new Int32Array(5), [3]);
    const ofScores = await all(linear(3), data);
    const ofSoftmax = await all(linear(3, "Softmax"), data, { batch: 2 });
    expect(ofSoftmax.map(({ answer }) => answer)).toEqual(ofScores.map(({ answer }) => answer));
    for (const [i, { sample, scores, answer }] of ofScores.entries()) {
      expect(sample).toBe(i);
      expect(scores.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
      expect(answer).toBe(scores.indexOf(Math.max(...scores)));
      expect(ofSoftmax[i]?.scores).toEqual(scores.map((score) => expect.closeTo(score, 6)));
    }
  });

  it("says numbers where nothing says that they are scores of classes", async () => {
    const messages: string[] = [];
    const data = arrayDataset(points(3), new Float32Array(9), [3]);
    const found = await all(linear(3), data, { onMessage: (message: string) => messages.push(message) });
    expect(found.every(({ answer }) => answer === undefined)).toBe(true);
    expect(messages).toEqual([expect.stringContaining("--objective cross-entropy")]);
  });

  it("gives one number a sample where the model's output has no other axis", async () => {
    const b = new GraphBuilder();
    const y = b.op("MatMul", [b.input("x", ["N", 3]), b.weight("w", [3])], "y");
    const model = Model.fromProto(graphToProto(b.output(y), { irVersion: 8 }));
    const [x, targets] = [points(5), new Float32Array(5)];
    const w = linearWeight(model);
    const sums = Array.from({ length: 5 }, (_, i) =>
      w.reduce((sum, v, k) => sum + v * (x[3 * i + k] ?? 0), 0),
    );
    const numbers = await all(model, arrayDataset(x, targets, [3]), { objective: meanSquaredError() });
    const shares = await all(model, arrayDataset(x, targets, [3]), { objective: binaryCrossEntropy() });
    for (const [i, sum] of sums.entries()) {
      expect(numbers[i]).toEqual({ sample: i, scores: [expect.closeTo(sum, 6)] });
      expect(shares[i]).toEqual({ sample: i, scores: [expect.closeTo(1 / (1 + Math.exp(-sum)), 6)] });
    }
  });
});

it("predict gives one number a sample as it is, although the data have classes", async () => {
  const labelled = arrayDataset(points(5), Int32Array.from([0, 1, 1, 0, 1]), [3]);
  const messages: string[] = [];
  const found = await all(linear(1), labelled, { onMessage: (text: string) => messages.push(text) });
  expect(found).toEqual(await all(linear(1), labelled, { objective: meanSquaredError() }));
  expect(new Set(found.map(({ scores }) => scores[0])).size).toBe(5);
  expect(messages).toEqual([expect.stringContaining("name its loss (--objective bce)")]);
});
