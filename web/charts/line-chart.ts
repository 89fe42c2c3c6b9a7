import * as Plot from "@observablehq/plot";
import { chart } from "../../src/report/plots/chart.ts";
import { el } from "../dom.ts";
import { count } from "../format.ts";
import { thinned } from "../history.ts";
import { type PerRun, type RunName, runNames } from "../protocol.ts";
import { refreshEvery, runStyles } from "./theme.ts";

/** A point of a curve: x counts steps. */
export interface CurvePoint {
  readonly step: number;
  readonly value: number;
}

export interface LineChartOptions {
  readonly title: string;
  /** Label of the y axis, with the unit. */
  readonly unit: string;
  /** Converts a number to text. */
  readonly format: (value: number) => string;
  /** Text of a number beside the axis; default: as short as possible. */
  readonly tick?: (value: number) => string;
  /** Explains the curves, if the title does not. */
  readonly note?: string;
}

/** Most points of a drawn curve. */
const drawn = 400;
/** Most rows of the table. */
const rows = 16;

/** Curves of both runs over the steps, as a picture and as a table. */
export class LineChart {
  readonly element: HTMLElement;
  readonly #options: LineChartOptions;
  readonly #picture = el("div", { class: "picture" });
  readonly #table = el("table");
  readonly #details: HTMLDetailsElement;
  #curves: PerRun<readonly CurvePoint[]> = { plain: [], som: [] };
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LineChartOptions) {
    this.#options = options;
    const scroller = el("div", {
      class: "scroller",
      tabindex: "0",
      role: "region",
      "aria-label": `${options.title}, table`,
    });
    scroller.append(this.#table);
    this.#details = el("details", {}, el("summary", {}, "Table"), scroller);
    this.#details.addEventListener("toggle", () => this.#fillTable());
    this.element = el(
      "figure",
      { class: "chart" },
      el(
        "figcaption",
        {},
        el("h3", {}, options.title),
        ...(options.note ? [el("p", { class: "note" }, options.note)] : []),
      ),
      this.#picture,
      this.#details,
    );
    new ResizeObserver(() => this.#soon()).observe(this.#picture);
  }

  update(curves: PerRun<readonly CurvePoint[]>): void {
    this.#curves = curves;
    this.#soon();
  }

  /** Draws soon, but not more often than the eye can follow. */
  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#draw();
      this.#fillTable();
    }, refreshEvery());
  }

  #draw(): void {
    const { title, unit, tick } = this.#options;
    const width = Math.floor(this.#picture.clientWidth);
    if (width === 0) return;
    const curves = runNames.map((run) => ({ run, points: thinned(this.#curves[run], drawn) }));
    const marks = curves.flatMap(({ run, points }) => {
      const { colour, dash } = runStyles[run];
      return [
        Plot.lineY(points, {
          x: "step",
          y: "value",
          stroke: colour,
          strokeWidth: 1.8,
          strokeDasharray: dash,
        }),
        Plot.dot(points.slice(-1), { x: "step", y: "value", fill: colour, r: 3 }),
      ];
    });
    const all = curves.flatMap(({ points }) => points);
    const empty = all.length === 0;
    const last = Math.max(1, ...all.map(({ step }) => step));
    const svg = chart(document, {
      className: "plot",
      label: empty ? `${title}: nothing yet` : `${title}: ${this.#summary()}`,
      ...{
        width,
        height: 190,
        marginLeft: 52,
        marginRight: 12,
        marginTop: 22,
        marginBottom: 34,
        grid: true,
      },
      x: {
        ...{
          label: "step",
          labelArrow: "right",
          domain: [0, last],
          tickFormat: (step: number) => count(step),
        },
        ticks: empty ? 0 : Math.min(last, Math.max(2, Math.floor(width / 90))),
      },
      y: {
        ...{ label: unit, labelArrow: "up", domain: rangeOf(all.map(({ value }) => value)), nice: true },
        ...{ ticks: empty ? 0 : 4, ...(tick && { tickFormat: tick }) },
      },
      marks,
    });
    this.#picture.replaceChildren(svg);
  }

  #summary(): string {
    const of = (run: RunName) => {
      const last = this.#curves[run].at(-1);
      return last
        ? `${runStyles[run].label} ${this.#options.format(last.value)} after ${count(last.step)} steps`
        : "";
    };
    return runNames.map(of).filter(Boolean).join(", ");
  }

  #fillTable(): void {
    if (!this.#details.open) return;
    const { title, format } = this.#options;
    const values = runNames.map((run) => new Map(this.#curves[run].map(({ step, value }) => [step, value])));
    const steps = [...new Set(values.flatMap((curve) => [...curve.keys()]))].sort((a, b) => a - b);
    const cell = (value: number | undefined) => el("td", {}, value === undefined ? "–" : format(value));
    this.#table.replaceChildren(
      el("caption", { class: "visually-hidden" }, title),
      el(
        "thead",
        {},
        el("tr", {}, ...["step", "plain", "SOM"].map((name) => el("th", { scope: "col" }, name))),
      ),
      el(
        "tbody",
        {},
        ...thinned(steps, rows).map((step) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, count(step)),
            ...values.map((curve) => cell(curve.get(step))),
          ),
        ),
      ),
    );
  }
}

/** The smallest and the largest number; the range is never empty. */
export function rangeOf(values: readonly number[]): [number, number] {
  if (values.length === 0) return [0, 1];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (least < most) return [least, most];
  const margin = Math.abs(least) / 10 || 1;
  return [least - margin, least + margin];
}
