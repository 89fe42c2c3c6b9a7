import { describe, expect, test } from "vitest";
import { namedDataset, type SampleArray } from "../../src/data/array-dataset.ts";
import type { Dataset } from "../../src/data/dataset.ts";
import { objectiveFor } from "../../src/data/labels.ts";
import { evaluateModel, sgd, Trainer } from "../../src/index.ts";
import {
  type AnyObjective,
  binaryCrossEntropy,
  causalLm,
  combined,
  cosine,
  crossEntropy,
  distillation,
  huber,
  klDivergence,
  lossModel,
  maskedLm,
  meanSquaredError,
  ownLoss,
} from "../../src/losses/public.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { fixture, modelFixture } from "../oracles/references.ts";
import { losses } from "../runtime/small-run.ts";

const torch = fixture<{
  readonly rate: number;
  readonly losses: Readonly<Record<string, readonly number[]>>;
}>("objectives/losses.json");
const samples = 6;

const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const floats = (name: string, ...shape: number[]): SampleArray => ({
  data: uniform(name, samples * count(shape)),
  shape,
});
const classes = (name: string, of: number, ...shape: number[]): SampleArray => ({
  data: Int32Array.from(labels(name, samples * count(shape), of)),
  shape,
});

/** Rows of three shares. */
function soft(): SampleArray {
  const { data } = floats("soft", 3);
  const sum = (row: number) => [0, 1, 2].reduce((all, c) => all + Number(data[row * 3 + c]) + 1.1, 0);
  return {
    data: Float64Array.from(data as Float32Array, (value, i) => (value + 1.1) / sum(Math.floor(i / 3))),
    shape: [3],
  };
}

/** Class labels of pixels, the first row of each image without one. */
function pixels(): SampleArray {
  const { data } = classes("y_pixels", 3, 4, 5);
  return { data: Int32Array.from(data as Int32Array, (y, i) => (i % 20 < 5 ? 255 : y)), shape: [4, 5] };
}

/** The softmax of three times `y_numbers` [samples, 4, 5] along an axis. */
function softmax(axis: 1 | 2): SampleArray {
  const powers = Float64Array.from(floats("y_numbers", 4, 5).data as Float32Array, (v) => Math.exp(3 * v));
  const [length, stride] = axis === 1 ? [4, 5] : [5, 1];
  const sum = (at: number) => {
    const first = at - (Math.floor(at / stride) % length) * stride;
    return Array.from({ length }, (_, i) => powers[first + i * stride] ?? 0).reduce((a, b) => a + b);
  };
  return { data: powers.map((power, at) => power / sum(at)), shape: [4, 5] };
}

/** Labels of vectors, zeros where the mask leaves a token out, and absurd numbers at one of these places. */
function padded({ data, shape = [] }: SampleArray): SampleArray {
  const counts = classes("mask", 2, 4).data;
  const kept = Float64Array.from(data as Float32Array, (v, at) => (counts[Math.floor(at / 5)] ? v : 0));
  const out = 5 * (counts as Int32Array).indexOf(0);
  kept.fill(3e38, out, out + 5);
  return { data: kept, shape };
}

const x = floats("x", 5);
const tokens = { x: floats("tokens", 4, 3), mask: classes("mask", 2, 4) };
const logCosh = ownLoss({
  name: "log-cosh",
  loss: (g, prediction, target) => {
    const d = g.sub(prediction, target);
    return g.sub(g.softplus(g.mul(d, 2)), g.add(d, Math.LN2));
  },
});
const weights = [0.5, 2, 1, 4, 0.25];
const ofPixels = crossEntropy({ classWeights: [1, 2, 0.5], ignoreIndex: 255 });
const masked = (objective: Parameters<typeof combined>[0][number]["objective"]) =>
  combined([{ objective, mask: "mask" }]);

/** A model, data for it, and a loss; `output` names the value that a single loss reads. */
interface Case {
  readonly model: string;
  readonly data: Dataset;
  readonly objective: AnyObjective;
  readonly output?: string;
}

const cases: Readonly<Record<string, Case>> = {
  sum: {
    model: "two",
    data: namedDataset({ inputs: { x, y_class: classes("y_class", 3), y_box: floats("y_box", 4) } }),
    objective: combined([
      { objective: crossEntropy(), output: "logits", labels: "y_class" },
      { objective: huber(), output: "box", labels: "y_box", weight: 0.5 },
    ]),
  },
  model: {
    model: "two",
    data: namedDataset({ inputs: { x, y_box: floats("y_box", 4) }, labels: classes("y_class", 3) }),
    objective: lossModel(modelFixture("objectives/loss.onnx")),
  },
  each: {
    model: "two",
    data: namedDataset({ inputs: { x }, labels: floats("y_box", 4) }),
    objective: lossModel(modelFixture("objectives/loss-of-each.onnx")),
    output: "box",
  },
  "log-cosh": {
    model: "two",
    data: namedDataset({ inputs: { x }, labels: floats("y_box", 4) }),
    objective: logCosh,
    output: "box",
  },
  probabilities: {
    model: "two",
    data: namedDataset({ inputs: { x }, labels: soft() }),
    objective: crossEntropy({ labels: "probabilities" }),
  },
  kl: { model: "two", data: namedDataset({ inputs: { x }, labels: soft() }), objective: klDivergence() },
  "several labels": {
    model: "two",
    data: namedDataset({ inputs: { x }, labels: classes("y_many", 2, 3) }),
    objective: binaryCrossEntropy(),
  },
  tokens: {
    model: "sequence",
    data: namedDataset({ inputs: tokens, labels: classes("y_tokens", 5, 4) }),
    objective: masked(crossEntropy({ labelSmoothing: 0.1 })),
  },
  "masked yes": {
    model: "sequence",
    data: namedDataset({ inputs: tokens, labels: classes("y_yes", 2, 4, 5) }),
    objective: masked(binaryCrossEntropy()),
  },
  "masked numbers": {
    model: "sequence",
    data: namedDataset({ inputs: tokens, labels: floats("y_numbers", 4, 5) }),
    objective: masked(meanSquaredError()),
  },
  "masked scores": {
    model: "sequence",
    data: namedDataset({ inputs: tokens, labels: floats("y_numbers", 4, 5) }),
    objective: masked(distillation({ temperature: 2, classAxis: -1 })),
  },
  "masked cosine": {
    model: "sequence",
    data: namedDataset({ inputs: tokens, labels: padded(softmax(2)) }),
    objective: masked(cosine({ axis: -1 })),
  },
  "masked kl": {
    model: "sequence",
    data: namedDataset({ inputs: tokens, labels: padded(softmax(2)) }),
    objective: masked(klDivergence({ classAxis: -1 })),
  },
  "masked kl over axis 1": {
    model: "sequence",
    data: namedDataset({ inputs: { ...tokens, columns: classes("columns", 2, 5) }, labels: softmax(1) }),
    objective: combined([{ objective: klDivergence(), mask: "columns" }]),
  },
  "masked probabilities": {
    model: "sequence",
    data: namedDataset({ inputs: tokens, labels: padded(softmax(2)) }),
    objective: masked(
      crossEntropy({ labels: "probabilities", labelSmoothing: 0.1, classAxis: -1, classWeights: weights }),
    ),
  },
  "masked causal-lm": {
    model: "sequence",
    data: namedDataset({ inputs: tokens, labels: classes("y_tokens", 5, 4) }),
    objective: masked(causalLm({ labelSmoothing: 0.1, classWeights: weights })),
  },
  "masked masked-lm": {
    model: "sequence",
    data: namedDataset({ inputs: tokens, labels: classes("y_tokens", 5, 4) }),
    objective: masked(maskedLm({ labelSmoothing: 0.1, classWeights: weights })),
  },
  pixels: {
    model: "dense",
    data: namedDataset({ inputs: { x: floats("image", 2, 4, 5) }, labels: pixels() }),
    objective: ofPixels,
  },
  "pixels last": {
    model: "dense-last",
    data: namedDataset({ inputs: { x: floats("image", 4, 5, 2) }, labels: pixels() }),
    objective: ofPixels,
  },
};

describe("50 steps as in PyTorch, evaluations beside them", () => {
  test.each(Object.entries(cases))("%s", async (name, { model: file, data, objective: asked, output }) => {
    const model = modelFixture(`objectives/${file}.onnx`);
    const expected = torch.losses[name] as readonly number[];
    const { objective } = objectiveFor(asked, data);
    const chosen = { objective, ...(output !== undefined && { output }) };
    const before = await evaluateModel(model, data, chosen);
    expect(Math.abs(before.loss - (expected[0] as number))).toBeLessThan(2e-6);
    const options = { ...chosen, batch: samples, threads: 1, learningRate: torch.rate };
    const trainer = await Trainer.create(model, { ...options, optimizer: sgd() });
    const found = await losses(trainer, data, { epochs: expected.length - 1 });
    expect(maxDifference(found, expected.slice(0, -1))).toBeLessThan(5e-6);
    // After 49 steps, the evaluation is the loss of the 50th, in the run and on the exported model.
    const own = await trainer.evaluate(data);
    const after = await evaluateModel(trainer.export(), data, chosen);
    for (const { loss } of [own, after]) {
      expect(Math.abs(loss - (expected.at(-1) as number))).toBeLessThan(5e-6);
    }
    expect(own.accuracy ?? -1).toBeCloseTo(after.accuracy ?? -1, 9);
    await trainer.release();
  });
});
