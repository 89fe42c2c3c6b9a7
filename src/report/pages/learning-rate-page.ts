import type { FoundLearningRate } from "../../measure/find-learning-rate.ts";
import { figureText } from "../angle-figures.ts";
import { curves } from "../plots/curves.ts";
import { rateText } from "../rate-text.ts";
import type { Elements } from "./elements.ts";
import { pageText } from "./page.ts";

/** Contents of the page besides the curve. */
interface LearningRatePageOptions {
  /** Lines about the search: model, data, optimizer, penalty. */
  readonly facts: readonly string[];
}

/** Writes a page with the curve of a search for a learning rate. @param document - an empty document */
export function learningRatePage(
  document: Document,
  found: FoundLearningRate,
  { facts }: LearningRatePageOptions,
): Promise<string> {
  return pageText(document, "Learning rates", (h) => [
    ...h.facts(...facts),
    suggestions(h, found),
    h.figures(curve(h, found)),
    h.details("All steps", steps(h, found)),
  ]);
}

const shown = (value: number): string => figureText(value, "number");

function suggestions(
  h: Elements,
  { suggestion, steepest, valley, points, stopped }: FoundLearningRate,
): Element {
  const facts = [
    ["suggestion", rateText(suggestion)],
    ["where the loss falls fastest", rateText(steepest)],
    ["in the middle of its longest fall", rateText(valley)],
    [stopped === "diverged" ? "steps until the loss diverged" : "steps", `${points.length}`],
  ] as const;
  return h.figureList(facts);
}

function curve(h: Elements, { points, steepest, valley }: FoundLearningRate): Element {
  const smoothed = points.map(({ learningRate: x, smoothed: y }) => ({ x, y }));
  // Single losses near the end would leave the rest of the curve flat.
  const top = 1.2 * Math.max(...smoothed.slice(0, Math.max(1, smoothed.length - 1)).map(({ y }) => y));
  const each = points.map(({ learningRate: x, loss }) => ({ x, y: loss > top ? Number.NaN : loss }));
  const at = (rate: number | undefined) => smoothed.filter(({ x }) => x === rate);
  const series = [
    { name: "loss of the step", color: 1, points: each },
    { name: "running mean", color: 0, points: smoothed.filter(({ y }) => y <= top) },
    { name: "falls fastest", color: 2, points: at(steepest), dots: true },
    { name: "longest fall", color: 3, points: at(valley), dots: true },
  ].filter(({ points: some }) => some.length > 0);
  const text = `loss ${shown(points[0]?.loss ?? Number.NaN)} at ${rateText(points[0]?.learningRate)}, ${shown(points.at(-1)?.loss ?? Number.NaN)} at ${rateText(points.at(-1)?.learningRate)}`;
  return h.figure(
    "Loss over the learning rate",
    curves(h.document, series, {
      label: `Loss over the learning rate: ${text}`,
      x: { label: "learning rate", type: "log", tickFormat: "~e" },
      y: { label: "loss" },
      height: 300,
    }),
    {
      legend: h.legend(series),
      text: `${text}. Each step has a higher rate than the one before.`,
      wide: true,
    },
  );
}

function steps(h: Elements, { points }: FoundLearningRate): Element {
  return h.table(
    "Rates and losses of all steps",
    [{ text: "step" }, { text: "learning rate" }, { text: "loss" }, { text: "running mean" }],
    points.map(({ learningRate, loss, smoothed }, i) => [
      ...[`${i + 1}`, rateText(learningRate), shown(loss), shown(smoothed)],
    ]),
  );
}
