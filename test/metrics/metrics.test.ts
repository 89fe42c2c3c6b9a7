import { describe, expect, test } from "vitest";
import {
  binaryCrossEntropy,
  crossEntropy,
  type Metric,
  meanSquaredError,
  type Objective,
} from "../../src/index.ts";
import { causalLm } from "../../src/losses/causal-lm.ts";
import { cosine } from "../../src/losses/cosine.ts";
import { ClassMetrics } from "../../src/metrics/class-metrics.ts";
import { areaUnderCurve, LabelMetrics } from "../../src/metrics/label-metrics.ts";
import { measuring } from "../../src/metrics/measuring.ts";
import { NumberMetrics } from "../../src/metrics/number-metrics.ts";
import { checkMetrics } from "../../src/metrics/table.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { fixture } from "../oracles/references.ts";

const { rows, classes, width, ofClasses, ofLabels, ofNumbers } = fixture<{
  rows: number;
  classes: number;
  width: number;
  ofClasses: {
    accuracy: number;
    top5: number;
    top2: number;
    logLoss: number;
    auc: number[];
    each: number[][];
    macro: number[];
    confusion: number[][];
  };
  ofLabels: { accuracy: number; each: number[][]; auc: number[] };
  ofNumbers: { mse: number; mae: number; r2: number };
}>("metrics.json");

const close = (values: readonly (number | undefined)[]) =>
  values.map((value) => expect.closeTo(value ?? Number.NaN, 12));

describe("figures of scikit-learn", () => {
  test("classes", () => {
    const scores = uniform("metrics.scores", rows * classes);
    const metrics = new ClassMetrics(classes);
    for (const [row, label] of labels("metrics.labels", rows, classes - 1).entries()) {
      metrics.add(scores.subarray(row * classes, (row + 1) * classes), label);
    }
    const report = metrics.report();
    const [precision, recall, f1, samples] = ofClasses.each;
    expect([report.accuracy, report.topK?.accuracy]).toEqual(close([ofClasses.accuracy, ofClasses.top5]));
    expect(report.classes.map((one) => one.precision)).toEqual(close(precision ?? []));
    expect(report.classes.map((one) => one.recall)).toEqual(close(recall ?? []));
    expect(report.classes.map((one) => one.f1)).toEqual(close(f1 ?? []));
    expect(report.classes.map((one) => one.samples)).toEqual(samples);
    expect(Object.values(report.macro)).toEqual(close(ofClasses.macro));
    expect(report.confusion).toEqual(ofClasses.confusion);
    expect(report.rows).toBe(rows);
  });

  test("labels of yes or no", () => {
    const scores = uniform("metrics.logits", rows * width).map((value) => Math.round(value * 10) / 10);
    const wanted = labels("metrics.answers", rows * width, 2);
    const metrics = new LabelMetrics(width);
    for (let at = 0; at < rows * width; at += width) {
      metrics.add(scores.subarray(at, at + width), wanted.slice(at, at + width));
    }
    const report = metrics.report();
    const [precision, recall, f1, samples] = ofLabels.each;
    expect(report.accuracy).toBeCloseTo(ofLabels.accuracy, 12);
    expect(report.labels.map((one) => one.precision)).toEqual(close(precision ?? []));
    expect(report.labels.map((one) => one.recall)).toEqual(close(recall ?? []));
    expect(report.labels.map((one) => one.f1)).toEqual(close(f1 ?? []));
    expect(report.labels.map((one) => one.samples)).toEqual(samples);
    expect(report.labels.map((one) => one.auc)).toEqual(close(ofLabels.auc));
  });

  test("numbers, far from 0", () => {
    const shifted = (name: string) => Float64Array.from(uniform(name, rows * width), (value) => value + 100);
    const [predictions, targets] = [shifted("metrics.predictions"), shifted("metrics.targets")];
    const metrics = new NumberMetrics(width);
    for (let at = 0; at < rows * width; at += width) {
      metrics.add(predictions.subarray(at, at + width), targets.subarray(at, at + width));
    }
    const { mse, rmse, mae, r2 } = metrics.report();
    expect([mse, mae, r2]).toEqual(close([ofNumbers.mse, ofNumbers.mae, ofNumbers.r2]));
    expect(rmse).toBeCloseTo(Math.sqrt(ofNumbers.mse), 12);
  });
});

describe("figures of a loss, by name, over batches that are filled up", () => {
  /** Batches of 8 rows for 60: the last one has 4. */
  function measured(
    metrics: readonly string[],
    objective: Objective,
    scores: Iterable<number>,
    wanted: readonly number[],
  ) {
    const all = [...scores];
    const [of, ofWanted] = [all.length / rows, wanted.length / rows];
    const pass = measuring(metrics, objective, [8, of], 8)();
    for (let row = 0; row < rows; row += 8) {
      const count = Math.min(8, rows - row);
      // What lies behind the rows that count must not.
      const padded = (values: readonly number[]) => [...values, ...new Array(8 * of).fill(1)];
      pass.add({
        scores: padded(all.slice(row * of, (row + count) * of)).slice(0, 8 * of),
        labels: padded(wanted.slice(row * ofWanted, (row + count) * ofWanted)).slice(0, 8 * ofWanted),
        count,
      });
    }
    return pass.report({ loss: ofClasses.logLoss, accuracy: ofClasses.accuracy });
  }
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const about = (value: number | undefined) => expect.closeTo(value ?? Number.NaN, 9);
  const ofClass = labels("metrics.labels", rows, classes - 1);

  test.each([
    ["classes", crossEntropy(), [...ofClass]],
    [
      "one-hot rows",
      crossEntropy({ labels: "probabilities" }),
      [...ofClass].flatMap((label) => Array.from({ length: classes }, (_, c) => Number(c === label))),
    ],
  ])("%s", (_, objective, wanted) => {
    const asked = [
      "f1",
      "accuracy",
      "top-2",
      "top5",
      "precision",
      "recall",
      "auc",
      "perplexity",
      "confusion",
    ];
    const scores = uniform("metrics.scores", rows * classes);
    const { metrics, perClass, confusion } = measured(asked, objective, scores, wanted);
    const [precision, recall, f1] = ofClasses.macro;
    expect(metrics).toEqual({
      ...{ f1: about(f1), accuracy: about(ofClasses.accuracy), top2: about(ofClasses.top2) },
      ...{ top5: about(ofClasses.top5), precision: about(precision), recall: about(recall) },
      ...{ auc: about(mean(ofClasses.auc)), perplexity: about(Math.exp(ofClasses.logLoss)) },
    });
    expect(Object.keys(metrics)[0]).toBe("f1");
    expect(perClass?.f1).toEqual(close(ofClasses.each[2] ?? []));
    // The last class has no rows.
    expect(perClass?.auc).toEqual([...ofClasses.auc.map(about), null]);
    expect(confusion).toEqual(ofClasses.confusion);
  });

  test("yes-or-no labels and numbers", () => {
    const logits = uniform("metrics.logits", rows * width).map((value) => Math.round(value * 10) / 10);
    const answers = [...labels("metrics.answers", rows * width, 2)];
    const { metrics, perClass } = measured(["auc", "f1"], binaryCrossEntropy(), logits, answers);
    expect(metrics).toEqual({ auc: about(mean(ofLabels.auc)), f1: about(mean(ofLabels.each[2] ?? [])) });
    expect(perClass?.auc).toEqual(ofLabels.auc.map(about));
    const [predictions, targets] = ["predictions", "targets"].map((name) =>
      [...uniform(`metrics.${name}`, rows * width)].map((value) => value + 100),
    );
    const numbers = measured(["r2", "rmse"], meanSquaredError(), predictions ?? [], targets ?? []).metrics;
    expect(numbers).toEqual({ r2: about(ofNumbers.r2), rmse: about(Math.sqrt(ofNumbers.mse)) });
  });

  test.each<[readonly (string | Metric)[], Objective, RegExp]>([
    [["f2"], crossEntropy(), /no metric "f2"; there are accuracy, top5, precision/],
    [["top0"], crossEntropy(), /no metric "top0"/],
    [["top5", "top-5"], crossEntropy(), /"top5" is given twice/],
    [["r2"], crossEntropy(), /"r2" is not defined for the labels of cross-entropy \(classes\)/],
    [["accuracy"], meanSquaredError(), /"accuracy" is not defined .* there it is mse, rmse, mae, r2/],
    [["f1"], causalLm(), /"f1" is not defined .* there it is accuracy, perplexity/],
    [["accuracy"], cosine(), /"accuracy" is not defined/],
    [
      [{ name: "f1", begin: () => ({ add() {}, result: () => 1 }) }],
      crossEntropy(),
      /"f1" as one that is there/,
    ],
    [[{ name: "mine" } as Metric], crossEntropy(), /needs a name and begin\(\)/],
  ])("refuses %j", (metrics, objective, message) => {
    expect(() => {
      checkMetrics(metrics);
      measuring(metrics, objective, objective.name === "causal-lm" ? [2, 3, 4] : [2, 4], 2);
    }).toThrow(message);
  });
});

describe("edges", () => {
  test("few classes have no top-5 accuracy, and an empty set has zeros", () => {
    expect(new ClassMetrics(5).report()).toMatchObject({ accuracy: 0, rows: 0, macro: { f1: 0 } });
    expect(new ClassMetrics(5).report()).not.toHaveProperty("topK");
  });

  test("a model that answers NaN is not right among its first classes", () => {
    const metrics = new ClassMetrics(7);
    metrics.add(new Array(7).fill(Number.NaN), 3);
    expect(metrics.report().topK).toEqual({ k: 5, accuracy: 0 });
  });

  test("of equal scores the first class is the answer, and counts for top k", () => {
    const metrics = new ClassMetrics(3, 1);
    expect(metrics.add([1, 1, 1], 1)).toBe(0);
    expect(metrics.report()).toMatchObject({ accuracy: 0, topK: { k: 1, accuracy: 0 } });
  });

  test("labels that are all alike have no area under the curve, and targets that are all alike no R²", () => {
    expect(areaUnderCurve([1, 2], [true, true])).toBeUndefined();
    expect(areaUnderCurve([1, 2, 2, 3], [false, true, false, true])).toBe(0.875);
    const metrics = new NumberMetrics(1);
    for (const prediction of [1, 2]) metrics.add([prediction], [2]);
    expect(metrics.report()).toEqual({ mse: 0.5, rmse: Math.sqrt(0.5), mae: 0.5, r2: undefined, rows: 2 });
  });
});
