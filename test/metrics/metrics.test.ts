import { describe, expect, test } from "vitest";
import { ClassMetrics } from "../../src/metrics/class-metrics.ts";
import { areaUnderCurve, LabelMetrics } from "../../src/metrics/label-metrics.ts";
import { NumberMetrics } from "../../src/metrics/number-metrics.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { fixture } from "../oracles/references.ts";

const { rows, classes, width, ofClasses, ofLabels, ofNumbers } = fixture<{
  rows: number;
  classes: number;
  width: number;
  ofClasses: {
    accuracy: number;
    top5: number;
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
