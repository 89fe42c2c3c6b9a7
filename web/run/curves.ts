import { type CurvePoint, LineChart } from "../charts/line-chart.ts";
import { byId } from "../dom.ts";
import { degrees, loss, percent } from "../format.ts";
import { type History, smoothed, type TestPoint } from "../history.ts";
import { type PerRun, type RunName, runNames } from "../protocol.ts";
import { dataLoss } from "./figures-table.ts";

/** Range of the training loss's smoothing, as a share of the steps shown. */
const smoothing = 0.02;

/** The curves of both runs. */
export class Curves {
  readonly #training = new LineChart({
    ...{ title: "Training loss", unit: "loss", format: loss },
    note: "Loss of the training batches without the penalty, smoothed.",
  });
  readonly #test = new LineChart({ title: "Test loss", unit: "loss", format: loss });
  readonly #accuracy = new LineChart({
    ...{ title: "Test accuracy", unit: "right answers", format: (share) => percent(share, 1000) },
    tick: (share) => percent(share, 100),
  });
  readonly #angles = new LineChart({
    ...{
      title: "Response angles, distance from 90°",
      unit: "degrees",
      format: degrees,
      tick: (angle) => `${angle}°`,
    },
    note: "Root mean square over pairs, mean over layers.",
  });

  constructor() {
    const charts = [this.#accuracy, this.#angles, this.#training, this.#test];
    byId("curves", HTMLElement)
      .querySelector(".charts")
      ?.append(...charts.map(({ element }) => element));
  }

  show(history: History, weight: number): void {
    const perRun = (points: (run: RunName) => CurvePoint[]) =>
      Object.fromEntries(runNames.map((run) => [run, points(run)])) as Record<RunName, CurvePoint[]>;
    const tests = (figure: (point: TestPoint) => number | undefined): PerRun<CurvePoint[]> =>
      perRun((run) =>
        history.tests(run).flatMap((point) => {
          const value = figure(point);
          return value === undefined || Number.isNaN(value) ? [] : [{ step: point.step, value }];
        }),
      );
    this.#training.update(
      perRun((run) => {
        const steps = history.steps(run);
        const values = smoothed(
          steps.map((point) => dataLoss(run, point, weight)),
          smoothing * steps.length,
        );
        return steps.map(({ step }, index) => ({ step, value: values[index] ?? 0 }));
      }),
    );
    this.#test.update(tests((point) => point.loss));
    this.#accuracy.update(tests(({ accuracy }) => accuracy));
    this.#angles.update(tests(({ responseDistance }) => responseDistance));
  }
}
