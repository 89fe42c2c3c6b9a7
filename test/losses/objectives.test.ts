import { describe, expect, test } from "vitest";
import { DataError } from "../../src/errors.ts";
import { Emit } from "../../src/graph/emit.ts";
import { typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/node.ts";
import { binaryCrossEntropy } from "../../src/losses/binary.ts";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { l1, meanSquaredError } from "../../src/losses/elementwise.ts";
import type { Objective } from "../../src/losses/objective.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { randomNormals, relativeError } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { cases, size } from "./loss-cases.ts";

type PredictionType = "float" | "double";

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
