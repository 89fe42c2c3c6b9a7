import * as Plot from "@observablehq/plot";
import type { Figure } from "./experiment.ts";
import type { VariantResult } from "./variants.ts";

/** Colours that are distinct on white, also for readers who cannot distinguish red and green. */
const colors = ["#1f6feb", "#d4530a", "#1a7f37", "#8250df", "#bf3989", "#7a5c00"] as const;
const common = {
  ...{ width: 640, marginRight: 20, style: { background: "white", color: "#1b1f24", fontSize: "12px" } },
};

/** A point with its 95 % interval for each variant that is compared with another; 0 means no difference. */
export function gainFigure(name: string, results: readonly VariantResult[], label: string): Figure {
  const points = results.flatMap(({ name, gain, diverged }) =>
    gain && diverged === 0
      ? [{ name, mean: gain.mean, low: gain.mean - gain.margin, high: gain.mean + gain.margin }]
      : [],
  );
  return figure(name, label, {
    ...{ height: 70 + 22 * points.length, marginLeft: 320, marginBottom: 40 },
    x: { label: "percentage points", grid: true, nice: true },
    y: { label: null, domain: points.map((point) => point.name) },
    marks: [
      Plot.ruleX([0], { stroke: "#1b1f24" }),
      Plot.link(points, { x1: "low", x2: "high", y1: "name", y2: "name", stroke: colors[0], strokeWidth: 2 }),
      Plot.dot(points, { x: "mean", y: "name", fill: colors[0], r: 4 }),
    ],
  });
}

/** A curve of {@link lineFigure}. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
  readonly dashed?: boolean;
}

/** Curves, with their names in the lower left corner. */
export function lineFigure(
  name: string,
  label: string,
  {
    x,
    y,
    lines,
  }: { readonly x: Plot.ScaleOptions; readonly y: Plot.ScaleOptions; readonly lines: readonly Line[] },
): Figure {
  const color = (index: number) => colors[index % colors.length] ?? colors[0];
  return figure(name, label, {
    ...{ height: 360, marginLeft: 60, marginBottom: 40 },
    x: { grid: true, ...x },
    y: { grid: true, ...y },
    marks: lines.flatMap(({ name, points, dashed }, i) => [
      Plot.line(points, { stroke: color(i), strokeWidth: 1.8, ...(dashed && { strokeDasharray: "5 4" }) }),
      Plot.dot(points, { fill: color(i), r: 2.5 }),
      Plot.text([name], {
        frameAnchor: "bottom-left",
        dx: 10,
        dy: -8 - 16 * (lines.length - 1 - i),
        fill: color(i),
      }),
    ]),
  });
}

const figure = (name: string, label: string, options: Plot.PlotOptions): Figure => ({
  ...{ name, label },
  draw(document) {
    const svg = Plot.plot({ document, ...common, ...options }) as SVGSVGElement;
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
    return svg;
  },
});
