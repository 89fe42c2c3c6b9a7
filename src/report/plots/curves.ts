import * as Plot from "@observablehq/plot";
import { type ChartOptions, chart, seriesColor } from "./chart.ts";

/** A point of a curve; `low` and `high` are the edges of a band around it. */
export interface CurvePoint {
  readonly x: number;
  readonly y: number;
  readonly low?: number;
  readonly high?: number;
}

export interface Curve {
  readonly points: readonly CurvePoint[];
  /** Number of its colour on the page. */
  readonly color: number;
  readonly dashed?: boolean;
  /** Marks the points; suits a curve of few points. */
  readonly dots?: boolean;
}

/** Axes of {@link curves}. */
export interface CurveOptions {
  readonly label: string;
  readonly x: ChartOptions["x"] & object;
  readonly y: ChartOptions["y"] & object;
  /** A height to mark with a line. */
  readonly rule?: number;
  readonly height?: number;
}

/** Ticks at whole numbers, at most six. */
export function wholeTicks(last: number): number[] {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((candidate) => last / candidate <= 6) ?? 1000;
  return Array.from({ length: Math.floor(last / step) + 1 }, (_, i) => i * step);
}

/** Options of an axis for ratios: logarithmic if they differ by more than a factor of ten. */
export function ratioAxis(values: readonly number[]): { type?: "log"; zero?: true; tickFormat: string } {
  const positive = values.filter((value) => value > 0);
  const spans = Math.max(...positive) / Math.min(...positive) > 10;
  return spans && positive.length === values.length
    ? { type: "log", tickFormat: "~g" }
    : { zero: true, tickFormat: "~g" };
}

/** Curves over a common axis, with bands behind them and gaps where a number is missing. */
export function curves(document: Document, series: readonly Curve[], options: CurveOptions): SVGSVGElement {
  const { label, x, y, rule, height } = options;
  const of = (point: keyof CurvePoint) => (p: CurvePoint) => p[point] ?? Number.NaN;
  return chart(document, {
    label,
    ...(height !== undefined && { height }),
    x: { ticks: 5, ...x },
    y: { grid: true, ticks: 5, ...y },
    marks: [
      ...(rule === undefined ? [] : [Plot.ruleY([rule], { strokeOpacity: 0.5 })]),
      ...series.flatMap(({ points, color }) =>
        points.some(({ low }) => low !== undefined)
          ? [
              Plot.areaY(points, {
                ...{ x: of("x"), y1: of("low"), y2: of("high") },
                ...{ fill: seriesColor(color), fillOpacity: 0.18 },
              }),
            ]
          : [],
      ),
      ...series.flatMap(({ points, color, dashed, dots }) => [
        Plot.lineY(points, {
          ...{ x: of("x"), y: of("y"), stroke: seriesColor(color), strokeWidth: 1.6 },
          ...(dashed && { strokeDasharray: "4 3" }),
        }),
        ...(dots ? [Plot.dot(points, { x: of("x"), y: of("y"), fill: seriesColor(color), r: 2.4 })] : []),
      ]),
    ],
  });
}

/** Areas that add up, one layer on top of the other. */
export function stackedCurves(
  document: Document,
  series: readonly {
    readonly name: string;
    readonly color: number;
    readonly points: readonly CurvePoint[];
  }[],
  options: CurveOptions,
): SVGSVGElement {
  const { label, x, y } = options;
  const data = series.flatMap(({ name, points }) => points.map((point) => ({ name, ...point })));
  return chart(document, {
    label,
    x: { ticks: 5, ...x },
    y: { grid: true, ticks: 5, ...y },
    color: { domain: series.map(({ name }) => name), range: series.map(({ color }) => seriesColor(color)) },
    marks: [
      Plot.areaY(data, {
        x: "x",
        y: "y",
        z: "name",
        fill: "name",
        fillOpacity: 0.6,
        order: series.map(({ name }) => name),
      }),
      Plot.ruleY([0]),
    ],
  });
}
