import { afterAll, describe, expect, it, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  crossEntropy,
  type Dataset,
  evaluateModel,
  Model,
  predict,
  Trainer,
  type TrainerOptions,
  withConversion,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { dataRecord } from "../../src/runtime/data-record.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";

const features = 8;
const classes = 3;
const batch = 16;
const options = { batch, learningRate: 1e-2, threads: 1, seed: 3 } satisfies TrainerOptions;

interface Samples {
  readonly x: Float32Array;
  readonly y: Int32Array;
  readonly data: Dataset;
}

function samples(name: string, size: number): Samples {
  const x = randomFloats(name, size * features);
  const y = Int32Array.from(randomInts(`${name} y`, size, 0, classes));
  return { x, y, data: arrayDataset(x, y, [features], { name }) };
}

const train = samples("train", 64);
/** Fills four batches, and 13 samples are left. */
const held = samples("held", 77);

const trainers: Trainer[] = [];
afterAll(async () => {
  for (const trainer of trainers) await trainer.release();
});

/** One layer, and what `lossOf` makes of its scores and the labels; without it the scores alone. */
async function trained(
  lossOf?: (b: GraphBuilder, scores: Value, labels: Value, weight: Value) => Value,
  more: TrainerOptions = {},
  data = train.data,
): Promise<Trainer> {
  const b = new GraphBuilder(18);
  const x = b.input("x", ["batch", features]);
  const weight = b.weight("w", [features, classes]);
  const y = lossOf && b.input("y", ["batch"], "int64");
  const scores = b.op("Gemm", [x, weight, b.weight("b", [classes])], "scores");
  b.graph.addOutput(y ? lossOf(b, scores, y, weight) : scores);
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  const trainer = await Trainer.create(model, { ...options, ...(lossOf && { loss: "loss" }), ...more });
  trainers.push(trainer);
  for await (const _ of trainer.fit(data, { epochs: 1 }));
  return trainer;
}

/** Cross-entropy and accuracy over the first samples of `held`, in plain float64; each row weighted by its class. */
function reference(trainer: Trainer, count: number, classWeights = [1, 1, 1], size = batch) {
  const { parameters } = trainer.state();
  const [w, b] = ["w", "b"].map((name) => parameters.get(name)?.numbers() ?? []);
  let [loss, correct, counted] = [0, 0, 0];
  // The mean of batches' means, each weighted by its labels.
  for (let first = 0; first < count; first += size) {
    let [sum, weights] = [0, 0];
    const rows = Math.min(size, count - first);
    for (let row = first; row < first + rows; row++) {
      const scores = Array.from({ length: classes }, (_, c) => {
        let score = b?.[c] ?? 0;
        for (let i = 0; i < features; i++)
          score += (held.x[row * features + i] ?? 0) * (w?.[i * classes + c] ?? 0);
        return score;
      });
      const label = held.y[row] ?? 0;
      const partition = scores.reduce((total, score) => total + Math.exp(score), 0);
      sum += (classWeights[label] ?? 0) * (Math.log(partition) - (scores[label] ?? 0));
      weights += classWeights[label] ?? 0;
      if (classWeights[label] === 0) continue;
      counted++;
      if (scores.indexOf(Math.max(...scores)) === label) correct++;
    }
    loss += (sum / weights) * rows;
  }
  return { loss: loss / count, accuracy: correct / counted, samples: count };
}

/** The trained model with the record that `train` writes into it. */
const written = (trainer: Trainer): Model =>
  withConversion(trainer.export(), dataRecord({ train: train.data }, trainer));

function expectFigures(
  found: Awaited<ReturnType<Trainer["evaluate"]>>,
  expected: ReturnType<typeof reference>,
): void {
  expect(found).toEqual({ ...expected, loss: expect.closeTo(expected.loss, 6) });
}

const crossEntropyNode = (b: GraphBuilder, inputs: Value[], attributes = {}, name = "loss") =>
  b.op("SoftmaxCrossEntropyLoss", inputs, name, attributes);

// −100 is what PyTorch's exporter writes: no label is ignored.
test.each([{}, { ignore_index: -100 }])(
  "a model that holds a cross-entropy %o trains and is evaluated as one with the objective",
  async (attributes) => {
    const own = await trained((b, scores, y) => crossEntropyNode(b, [scores, y], attributes));
    const other = await trained(undefined, { objective: crossEntropy() });
    const [a, b] = [own.state().parameters, other.state().parameters];
    for (const [name, tensor] of a) {
      const expected = b.get(name)?.numbers() ?? [];
      tensor.numbers().forEach((value, i) => {
        expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 5);
      });
    }
    expectFigures(await own.evaluate(held.data), reference(own, 77));
    expectFigures(await other.evaluate(held.data), reference(other, 77));
    const { loss, accuracy, classes: ofClasses, worst } = await evaluateModel(written(own), held.data);
    const { loss: wanted, ...figures } = reference(own, 77);
    expect({ accuracy, samples: held.data.size }).toEqual(figures);
    expect(loss).toBeCloseTo(wanted, 6);
    expect([ofClasses?.classes.length, worst.length]).toEqual([classes, 10]);
  },
);

describe("a loss that is one number for each batch", () => {
  it("counts whole batches and says so once, with the accuracy of the cross-entropy in it", async () => {
    const told: string[] = [];
    const onMessage = (text: string) => told.push(text);
    const weights = [1, 2, 0.5];
    const own = await trained(
      (b, scores, y) =>
        crossEntropyNode(b, [scores, y, b.graph.addInitializer(Tensor.float("c", [classes], weights))]),
      { onMessage, freeze: /^c$/ },
    );
    expectFigures(await own.evaluate(held.data), reference(own, 64, weights));
    await own.evaluate(held.data);
    expect(told.filter((text) => text.includes("not evaluated"))).toEqual([
      "the model's own loss is one number for each batch of 16: 13 of the 77 samples of held fill no batch and are not evaluated",
    ]);
  });

  it("may have more in it than a cross-entropy", async () => {
    const own = await trained((b, scores, y, w) => {
      const decay = b.op("ReduceSumSquare", [w], "decay", { keepdims: 0 });
      return b.op("Add", [crossEntropyNode(b, [scores, y], {}, "fit"), decay], "loss");
    });
    const { loss, ...figures } = reference(own, 64);
    const decay =
      own
        .state()
        .parameters.get("w")
        ?.numbers()
        .reduce((sum, value) => sum + value * value, 0) ?? 0;
    expectFigures(await own.evaluate(held.data), { ...figures, loss: loss + decay });
    const told: string[] = [];
    const model = written(own);
    const evaluation = { batch, onMessage: (text: string) => told.push(text) };
    const { worst, ...found } = await evaluateModel(model, held.data, evaluation);
    expectFigures(found, { ...figures, loss: loss + decay });
    expect(worst).toEqual([]);
    expect(told[0]).toContain('loss: "loss", the model\'s own, which the model was trained with');
    // The only output is the loss: the answers are those of the scores that it reads, not those of the loss.
    const answers = [];
    for await (const { answer } of predict(model, held.data)) answers.push(answer);
    const right = answers.filter((answer, i) => i < 64 && answer === held.y[i]).length;
    expect(right / 64).toBeCloseTo(figures.accuracy, 9);
  });

  it("counts the samples whose class the cross-entropy does not ignore", async () => {
    const ignoring = await trained((b, scores, y) => crossEntropyNode(b, [scores, y], { ignore_index: 1 }));
    expectFigures(await ignoring.evaluate(held.data), reference(ignoring, 77, [1, 0, 1], 77));
    const marked = (label: number) =>
      arrayDataset(
        train.x,
        train.y.map((y) => (y === 1 ? label : y)),
        [features],
        { name: "marked" },
      );
    await expect(ignoring.fit(marked(-100), { epochs: 2 }).next()).rejects.toThrow(
      "y holds the label -100, but the model has 3 classes",
    );
    // PyTorch's −100: the same loss and gradient as with the rows' class ignored.
    const torch = await trained(
      (b, scores, y) => crossEntropyNode(b, [scores, y], { ignore_index: -100 }),
      {},
      marked(-100),
    );
    const [a, b] = [ignoring, torch].map((trainer) => trainer.state().parameters.get("w")?.numbers() ?? []);
    expect(a).toEqual(b);
  });

  it("has no accuracy where there is no cross-entropy", async () => {
    const other = await trained((b, scores, y) => {
      const hot = b.op(
        "OneHot",
        [y, b.int64("depth", classes), b.graph.addInitializer(Tensor.float("values", [2], [0, 1]))],
        "hot",
        { axis: 1 },
      );
      return b.op("ReduceSumSquare", [b.op("Sub", [scores, hot], "error")], "loss", { keepdims: 0 });
    });
    expect(Object.keys(await other.evaluate(held.data))).toEqual(["loss", "samples"]);
    await expect(predict(written(other), held.data).next()).rejects.toThrow(
      'the only output of the model is its loss "loss": name the value to predict',
    );
  });

  it("takes classes that are floats where the model does, and refuses classes that it has not", async () => {
    const own = await trained((b, scores, y) => crossEntropyNode(b, [scores, y]));
    const floats = arrayDataset(held.x, Float32Array.from(held.y), [features], { name: "floats" });
    expectFigures(await own.evaluate(floats), reference(own, 77));
    const more = arrayDataset(
      held.x,
      held.y.map((label) => label + 1),
      [features],
      { name: "more" },
    );
    await expect(own.evaluate(more)).rejects.toThrow(
      /more: y holds the label 3, but the model has 3 classes/,
    );
  });

  it("is refused for labels that are not one for each sample", async () => {
    const b = new GraphBuilder(18);
    const x = b.input("x", ["batch", features]);
    const y = b.input("y", [2 * batch], "int64");
    const rows = b.op("Gemm", [x, b.weight("w", [features, 2 * classes])], "rows");
    const scores = b.op("Reshape", [rows, b.int64("shape", [-1, classes])], "scores");
    b.graph.addOutput(crossEntropyNode(b, [scores, y]));
    const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
    const trainer = await Trainer.create(model, { ...options, loss: "loss" });
    trainers.push(trainer);
    await expect(trainer.fit(train.data, { epochs: 1 }).next()).rejects.toThrow(
      'train: y: labels of one sample have shape [], but "y" takes [2]',
    );
  });

  it("is refused for fewer samples than a batch", async () => {
    const own = await trained((b, scores, y) => crossEntropyNode(b, [scores, y], { reduction: "sum" }));
    await expect(own.evaluate(samples("few", 15).data)).rejects.toThrow(
      /whole batches of 16: give few at least that many samples for evaluation \(it has 15\)/,
    );
  });
});
