import * as Plot from "@observablehq/plot";
import { chart, degreeTicks } from "../../src/report/plots/chart.ts";
import { type PerRun, runNames } from "../protocol.ts";
import { runStyles } from "./theme.ts";

/** Least range on both sides of 90°, in degrees. */
const least = 14;

/** Half the width of the range that holds every bin of both histograms, in whole bins around 90°. */
export function halfRange(histograms: readonly (readonly number[])[]): number {
  const furthest = histograms.flatMap((histogram) => {
    const width = 180 / histogram.length;
    return histogram.flatMap((pairs, bin) =>
      pairs > 0 ? [Math.max(Math.abs(bin * width - 90), Math.abs((bin + 1) * width - 90))] : [],
    );
  });
  return Math.min(90, Math.max(least, ...furthest));
}

/** Histograms of the angles of both runs, one over the other. */
export function angleHistogram(
  histograms: Partial<PerRun<readonly number[] | undefined>>,
  width: number,
): Element {
  const half = halfRange(Object.values(histograms).flatMap((one) => (one ? [one] : [])));
  const marks = runNames.flatMap((run) => {
    const histogram = histograms[run];
    if (!histogram) return [];
    const pairs = histogram.reduce((a, b) => a + b, 0);
    const bin = 180 / histogram.length;
    // Each bar as its two upper corners, from the first displayed bin to the last.
    const corners = histogram.flatMap((number, index) => {
      const share = (100 * number) / pairs;
      const [left, right] = [index * bin, (index + 1) * bin];
      if (right <= 90 - half || left >= 90 + half) return [];
      return [
        { angle: left, share },
        { angle: right, share },
      ];
    });
    const { colour, dash } = runStyles[run];
    return [
      Plot.areaY(corners, { x: "angle", y1: 0, y2: "share", fill: colour, fillOpacity: 0.18 }),
      Plot.lineY(corners, {
        x: "angle",
        y: "share",
        stroke: colour,
        strokeWidth: 1.3,
        strokeDasharray: dash,
      }),
    ];
  });
  const third = Math.round(half / 2);
  return chart(document, {
    ...{ label: "", className: "plot" },
    ...{ width, height: 76, marginLeft: 34, marginRight: 8, marginTop: 8, marginBottom: 20 },
    x: {
      domain: [90 - half, 90 + half],
      ticks: [90 - third, 90, 90 + third],
      tickFormat: degreeTicks,
      label: null,
      tickSize: 3,
    },
    y: { ticks: 2, tickFormat: (share: number) => `${share} %`, label: null, tickSize: 0 },
    marks: [Plot.ruleX([90], { stroke: "currentColor", strokeOpacity: 0.45 }), ...marks],
  });
}
