import { describe, expect, test } from "vitest";
import { DataError } from "../../src/errors.ts";
import { Emit } from "../../src/graph/emit.ts";
import { typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/node.ts";
import { binaryCrossEntropy, binaryFocal } from "../../src/losses/binary.ts";
import { cosine } from "../../src/losses/cosine.ts";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { distillation } from "../../src/losses/distillation.ts";
import { huber, l1, meanSquaredError, smoothL1 } from "../../src/losses/elementwise.ts";
import type { Objective } from "../../src/losses/objective.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { randomFloats, randomInts, randomNormals, relativeError } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

type PredictionType = "float" | "double";

const size = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

/** Runs the objective's graph: value, and gradient in the prediction's order. */
async function run(
  objective: Objective,
  shape: readonly number[],
  type: PredictionType,
  prediction: readonly number[],
  labels: readonly number[],
): Promise<{ value: number; gradient: readonly number[] }> {
  const graph = new Graph("objective", new Map([["", 18]]));
  const labelShape = objective.labels.shape(shape);
  const x = typed(graph.addInput("x", type, shape));
  const y = typed(graph.addInput("y", objective.labels.type, labelShape));
  const { value, gradient } = objective.build(new Emit(graph, { prefix: "sorth/" }), x, y);
  const slope = gradient();
  expect([value.shape, slope.shape, slope.type]).toEqual([[], shape, type]);
  graph.addOutput(value);
  graph.addOutput(slope);
  const numbers = type === "float" ? Float32Array.from(prediction) : Float64Array.from(prediction);
  const wanted = objective.labels.type === "int32" ? Int32Array.from(labels) : Float32Array.from(labels);
  const outputs = Object.values(
    await runModel(graph, {
      x: Tensor.of("x", type, shape, numbers),
      y: Tensor.of("y", objective.labels.type, labelShape, wanted),
    }),
  );
  return { value: outputs[0]?.numbers()[0] ?? Number.NaN, gradient: outputs[1]?.numbers() ?? [] };
}

/** Mean over the rows that count. */
function meanLoss(
  objective: Objective,
  prediction: ArrayLike<number>,
  labels: readonly number[],
  shape: readonly number[],
): number {
  const rows = shape[0] ?? 0;
  const { loss, counted = rows, weight = counted } = objective.evaluate(prediction, labels, rows, shape);
  return loss / weight;
}

/** ∂(mean loss)/∂prediction by differences of evaluate() in float64, fourth order. */
function numericGradient(
  objective: Objective,
  shape: readonly number[],
  prediction: readonly number[],
  labels: readonly number[],
): number[] {
  const step = 1e-3;
  return prediction.map((_, index) => {
    const at = (offset: number): number => {
      const moved = prediction.map((value, i) => (i === index ? value + offset * step : value));
      return meanLoss(objective, moved, labels, shape);
    };
    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
  });
}

interface Case {
  readonly objective: Objective;
  readonly shape: readonly number[];
  readonly labels: readonly number[];
}

const classes = (shape: readonly number[]): number[] =>
  randomInts(`classes ${shape.join("x")}`, size(shape) / (shape[1] ?? 1), 0, shape[1] ?? 1);
const targets = (shape: readonly number[]): number[] =>
  Array.from(randomFloats(`targets ${shape.join("x")}`, size(shape), 0, 1));

/** Shares of classes on an axis, which sum to 1. */
function shares(shape: readonly number[], axis: number): number[] {
  const all = targets(shape);
  const [count, inner] = [shape[axis] ?? 1, size(shape.slice(axis + 1))];
  return all.map((share, at) => {
    const first = Math.floor(at / (count * inner)) * count * inner + (at % inner);
    const sum = Array.from({ length: count }, (_, c) => all[first + c * inner] ?? 0).reduce(
      (a, b) => a + b,
      0,
    );
    return Math.fround(share / sum);
  });
}

/** Every third label is one that does not count. */
const marked = (labels: readonly number[], label: number) => labels.map((y, i) => (i % 3 === 0 ? label : y));

const cases: Record<string, Case> = {
  "cross-entropy, 255 ignored": {
    objective: crossEntropy({ ignoreIndex: 255 }),
    ...{ shape: [5, 4], labels: marked(classes([5, 4]), 255) },
  },
  "cross-entropy [N, C, H, W], −100 ignored, smoothed": {
    objective: crossEntropy({ ignoreIndex: -100, labelSmoothing: 0.2 }),
    ...{ shape: [2, 3, 2, 3], labels: marked(classes([2, 3, 2, 3]), -100) },
  },
  "cross-entropy, a class ignored": {
    objective: crossEntropy({ ignoreIndex: 0 }),
    ...{ shape: [6, 3], labels: [0, 1, 2, 0, 1, 2] },
  },
  "cross-entropy [N, T, C], classes last": {
    objective: crossEntropy({ classAxis: -1 }),
    ...{ shape: [3, 2, 4], labels: randomInts("tokens", 6, 0, 4) },
  },
  "cross-entropy [N, T, C], classes found by the labels, −100 ignored": {
    objective: crossEntropy({ labelPlaces: 5, ignoreIndex: -100 }),
    ...{ shape: [3, 5, 4], labels: marked(randomInts("more tokens", 15, 0, 4), -100) },
  },
  "cross-entropy of shares": {
    objective: crossEntropy({ labels: "probabilities" }),
    ...{ shape: [5, 4], labels: shares([5, 4], 1) },
  },
  "cross-entropy of shares [N, C, L], smoothed": {
    objective: crossEntropy({ labels: "probabilities", labelSmoothing: 0.1 }),
    ...{ shape: [3, 4, 2], labels: shares([3, 4, 2], 1) },
  },
  "cross-entropy of shares [N, T, C]": {
    objective: crossEntropy({ labels: "probabilities", classAxis: -1 }),
    ...{ shape: [3, 2, 4], labels: shares([3, 2, 4], 2) },
  },

  "cross-entropy [N, C]": { objective: crossEntropy(), shape: [5, 4], labels: classes([5, 4]) },
  "cross-entropy [N, C, L]": { objective: crossEntropy(), shape: [3, 4, 2], labels: classes([3, 4, 2]) },
  "cross-entropy [N, C, H, W]": {
    objective: crossEntropy(),
    shape: [2, 3, 2, 3],
    labels: classes([2, 3, 2, 3]),
  },
  "cross-entropy, smoothed": {
    objective: crossEntropy({ labelSmoothing: 0.1 }),
    shape: [5, 4],
    labels: classes([5, 4]),
  },
  "cross-entropy [N, C, H, W], smoothed": {
    objective: crossEntropy({ labelSmoothing: 0.3 }),
    shape: [2, 3, 2, 3],
    labels: classes([2, 3, 2, 3]),
  },
  "cross-entropy with weights, 255 ignored": {
    objective: crossEntropy({ classWeights: [1, 0, 0.5, 3], ignoreIndex: 255 }),
    ...{ shape: [8, 4], labels: marked(classes([8, 4]), 255) },
  },
  "cross-entropy [N, C, L] with weights, smoothed": {
    objective: crossEntropy({ classWeights: "1,2,0.5,3", labelSmoothing: 0.2 }),
    ...{ shape: [3, 4, 2], labels: classes([3, 4, 2]) },
  },
  "cross-entropy of shares [N, T, C] with weights": {
    objective: crossEntropy({ labels: "probabilities", classAxis: -1, classWeights: [1, 2, 0.5, 3] }),
    ...{ shape: [3, 2, 4], labels: shares([3, 2, 4], 2) },
  },
  "focal cross-entropy, −100 ignored": {
    objective: crossEntropy({ focus: 2, ignoreIndex: -100 }),
    ...{ shape: [5, 4], labels: marked(classes([5, 4]), -100) },
  },
  "focal cross-entropy [N, C, L] with weights": {
    objective: crossEntropy({ focus: 1, classWeights: [1, 2, 0.5, 3] }),
    ...{ shape: [3, 4, 2], labels: classes([3, 4, 2]) },
  },
  "bce with a weight": {
    objective: binaryCrossEntropy({ positiveWeight: 4 }),
    ...{ shape: [4, 3], labels: targets([4, 3]) },
  },
  "binary focal": { objective: binaryFocal(), shape: [4, 3], labels: targets([4, 3]) },
  "binary focal of γ 1.5": {
    objective: binaryFocal({ gamma: 1.5, alpha: "none" }),
    ...{ shape: [4, 3], labels: targets([4, 3]) },
  },
  huber: { objective: huber({ delta: 0.7 }), shape: [5, 3], labels: targets([5, 3]) },
  "smooth l1": { objective: smoothL1({ beta: 0.3 }), shape: [5, 3], labels: targets([5, 3]) },
  "cosine [N, k]": { objective: cosine(), shape: [5, 3], labels: targets([5, 3]) },
  "cosine [N, k, L]": { objective: cosine(), shape: [3, 4, 2], labels: targets([3, 4, 2]) },
  "distillation [N, C]": {
    objective: distillation({ temperature: 3 }),
    ...{ shape: [5, 4], labels: targets([5, 4]) },
  },
  "distillation [N, T, C]": {
    objective: distillation({ classAxis: -1 }),
    ...{ shape: [3, 2, 4], labels: targets([3, 2, 4]) },
  },
  "mse [N, k]": { objective: meanSquaredError(), shape: [5, 3], labels: targets([5, 3]) },
  "mse [N]": { objective: meanSquaredError(), shape: [6], labels: targets([6]) },
  "mse [N, k, H, W]": { objective: meanSquaredError(), shape: [2, 3, 2, 2], labels: targets([2, 3, 2, 2]) },
  "l1 [N, k]": { objective: l1(), shape: [5, 3], labels: targets([5, 3]) },
  "bce [N, 1]": { objective: binaryCrossEntropy(), shape: [6, 1], labels: targets([6, 1]) },
  "bce [N, k]": { objective: binaryCrossEntropy(), shape: [4, 3], labels: targets([4, 3]) },
};

describe("the graph of a loss against evaluate() and its differences", () => {
  for (const [name, { objective, shape, labels }] of Object.entries(cases)) {
    const prediction = Array.from(randomNormals(`prediction ${shape.join("x")}`, size(shape)), (x) => 2 * x);
    for (const [type, tolerance] of [
      ["float", 1e-6],
      ["double", 1e-12],
    ] as const) {
      test(`${name}, ${type}`, async () => {
        const { value, gradient } = await run(objective, shape, type, prediction, labels);
        expect(relativeError([value], [meanLoss(objective, prediction, labels, shape)])).toBeLessThan(
          tolerance,
        );
        const expected = numericGradient(objective, shape, prediction, labels);
        expect(relativeError(gradient, expected)).toBeLessThan(Math.max(tolerance, 1e-10));
      });
    }
  }
});

describe("the value holds for another batch than the one it was built with", () => {
  for (const [name, { objective, shape, labels }] of Object.entries(cases)) {
    test(name, async () => {
      const graph = new Graph("objective", new Map([["", 18]]));
      const other = [(shape[0] ?? 0) + 1, ...shape.slice(1)];
      const add = (input: string, type: "float" | "int32", built: readonly number[]) =>
        typed(graph.addInput(input, type, built, ["N", ...built.slice(1)]));
      const x = add("x", "float", other);
      const y = add("y", objective.labels.type, objective.labels.shape(other));
      graph.addOutput(objective.build(new Emit(graph, { prefix: "sorth/" }), x, y).value);
      // As a file would store it: no shape but the declared one.
      for (const value of [x, y] as Value[]) value.shape = undefined;
      const prediction = randomNormals(`other batch ${shape.join("x")}`, size(shape));
      const wanted = objective.labels.type === "int32" ? Int32Array.from(labels) : Float32Array.from(labels);
      const outputs = await runModel(graph, {
        x: Tensor.float("x", shape, prediction),
        y: Tensor.of("y", objective.labels.type, objective.labels.shape(shape), wanted),
      });
      const expected = meanLoss(objective, prediction, labels, shape);
      expect(relativeError(Object.values(outputs)[0]?.numbers() ?? [], [expected])).toBeLessThan(1e-6);
    });
  }
});

describe("figures known without the code", () => {
  test("cross-entropy", () => {
    // log(1 + e + e²) − 2, and with α = 0.3: − (0.7·2 + 0.1·(0 + 1 + 2))
    const partition = Math.log(1 + Math.E + Math.E ** 2);
    expect(crossEntropy().evaluate([0, 1, 2], [2], 1, [1, 3])).toEqual({
      loss: expect.closeTo(partition - 2, 12),
      ...{ correct: 1, counted: 1 },
    });
    const smoothed = crossEntropy({ labelSmoothing: 0.3 }).evaluate([0, 1, 2], [1], 1, [1, 3]);
    expect(smoothed).toEqual({
      loss: expect.closeTo(partition - (0.7 * 1 + 0.1 * 3), 12),
      correct: 0,
      counted: 1,
    });
    // −(0.25·0 + 0.75·2); and of two rows the one that counts
    const halves = crossEntropy({ labels: "probabilities" }).evaluate([0, 1, 2], [0.25, 0, 0.75], 1, [1, 3]);
    expect(halves.loss).toBeCloseTo(partition - 1.5, 12);
    const one = crossEntropy({ ignoreIndex: -100 }).evaluate([0, 1, 2, 5, 5, 5], [2, -100], 2, [2, 3]);
    expect(one).toEqual({ loss: expect.closeTo(partition - 2, 12), correct: 1, counted: 1 });
  });

  test("of elements", () => {
    expect(meanSquaredError().evaluate([1, 4], [0, 2], 1, [1, 2])).toEqual({ loss: 2.5 });
    expect(l1().evaluate([1, 4], [3, 2], 2, [2, 1])).toEqual({ loss: 4 });
    expect(binaryCrossEntropy().evaluate([0, 0], [0, 1], 2, [2, 1])).toEqual({
      loss: expect.closeTo(2 * Math.LN2, 12),
      correct: 1,
    });
  });

  test("l1 has the slope 0 where prediction and label are equal", async () => {
    const { gradient } = await run(l1(), [4], "float", [1, 2, 3, 4], [1, 1, 4, 4]);
    expect(gradient.map((value) => value + 0)).toEqual([0, 0.25, -0.25, 0]);
  });
});

test("a batch in which no label counts has the loss 0 and no gradient", async () => {
  const objective = crossEntropy({ ignoreIndex: 255 });
  const { value, gradient } = await run(objective, [2, 3], "float", [1, 2, 3, 4, 5, 6], [255, 255]);
  expect([value, ...gradient.map(Math.abs)]).toEqual([0, 0, 0, 0, 0, 0, 0]);
});

describe("logits that overflow exp()", () => {
  const cross = { shape: [2, 3], prediction: [1000, 0, -1000, -1000, 0, 1000] };
  test("cross-entropy", async () => {
    const { value, gradient } = await run(crossEntropy(), cross.shape, "float", cross.prediction, [0, 1]);
    expect(value).toBe(500);
    expect(gradient).toEqual([0, 0, 0, 0, -0.5, 0.5]);
  });

  test("bce", async () => {
    const { value, gradient } = await run(
      binaryCrossEntropy(),
      [4],
      "float",
      [1000, -1000, 1000, -1000],
      [1, 0, 0, 1],
    );
    expect(value).toBe(500);
    expect(gradient).toEqual([0, 0, 0.25, -0.25]);
  });
});

describe("a partly filled batch", () => {
  for (const [name, { objective, shape, labels }] of Object.entries(cases)) {
    test(name, () => {
      const prediction = Array.from(randomNormals(`part ${shape.join("x")}`, size(shape)));
      const rows = (shape[0] ?? 0) - 1;
      const perRow = (array: readonly number[]) => array.length / (shape[0] ?? 1);
      const short = objective.evaluate(
        prediction.slice(0, rows * perRow(prediction)),
        labels.slice(0, rows * perRow(labels)),
        rows,
        [rows, ...shape.slice(1)],
      );
      expect(objective.evaluate(prediction, labels, rows, shape)).toEqual(short);
      expect(objective.evaluate(prediction, labels, rows + 1, shape).loss).toBeGreaterThan(short.loss);
    });
  }
});

describe("labels", () => {
  test("that fit are accepted", () => {
    for (const { objective, shape, labels } of Object.values(cases)) objective.checkLabels(labels, shape);
  });

  for (const [objective, shape, labels, message] of [
    [
      crossEntropy(),
      [3, 4],
      [0, 4, 1],
      "label 4 at position 1 is not a class of the model: its 4 classes are 0 to 3",
    ],
    [
      crossEntropy(),
      [3, 4],
      [0, 1, -1],
      "label -1 at position 2 is not a class of the model: its 4 classes are 0 to 3",
    ],
    [
      crossEntropy(),
      [1, 4],
      [1.5],
      "label 1.5 at position 0 is not a class of the model: its 4 classes are 0 to 3",
    ],
    [binaryCrossEntropy(), [2, 1], [1, 2], "label 2 at position 1 is not a number from 0 to 1"],
    [binaryCrossEntropy(), [1], [Number.NaN], "label NaN at position 0 is not a number from 0 to 1"],
    [meanSquaredError(), [2], [0, Number.NaN], "label NaN at position 1 is not a finite number"],
    [l1(), [1], [Number.POSITIVE_INFINITY], "label Infinity at position 0 is not a finite number"],
  ] as const) {
    test(`refused: ${message}`, () => {
      expect(() => objective.checkLabels(labels, shape)).toThrow(new DataError(message));
    });
  }

  test("have a shape that follows from the prediction's", () => {
    expect(crossEntropy().labels.shape([8, 10])).toEqual([8]);
    expect(crossEntropy().labels.shape([8, 10, 4, 5])).toEqual([8, 4, 5]);
    expect(meanSquaredError().labels.shape([8, 10])).toEqual([8, 10]);
    for (const shape of [[8], [8, 1]]) {
      expect(() => crossEntropy().labels.shape(shape)).toThrow(
        "with two classes or more; the prediction has shape",
      );
    }
  });
});

test("a prediction of integers is refused", () => {
  const graph = new Graph("objective", new Map([["", 18]]));
  const x = typed(graph.addInput("x", "int32", [2]));
  const y = typed(graph.addInput("y", "float", [2]));
  expect(() => l1().build(new Emit(graph, { prefix: "sorth/" }), x, y)).toThrow(
    'the prediction "x" is int32; a loss needs floats',
  );
});
