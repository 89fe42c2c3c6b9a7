import * as Plot from "@observablehq/plot";
import type { Distribution } from "../../measure/distribution.ts";
import { chart, degreeTicks, seriesColor } from "./chart.ts";

/** The angles of one model's layer. */
interface HistogramSeries {
  readonly distribution: Distribution;
  /** Number of its colour on the page. */
  readonly color: number;
}

/** A distribution to compare with: relative densities, of any scale, over degrees. */
export type AngleDensity = (angle: number) => number;

/** Density of the angles between random directions in the given dimension: sin^(d−2). */
export const randomDensity =
  (dimensions: number): AngleDensity =>
  (angle) =>
    Math.sin((angle * Math.PI) / 180) ** (dimensions - 2);

/** Density of a normal distribution around 90°. */
export const normalDensity =
  (deviation: number): AngleDensity =>
  (angle) =>
    Math.exp(-(((angle - 90) / deviation) ** 2) / 2);

/** Points of the curve drawn over a histogram. */
const curvePoints = 400;

/**
 * Histograms of angles, several on top of each other, with 90° marked: per cent of the pairs per degree.
 * @param reference - density of a dashed curve, scaled to the same area
 */
export function angleHistogram(
  document: Document,
  series: readonly HistogramSeries[],
  { label, reference }: { readonly label: string; readonly reference?: AngleDensity },
): SVGSVGElement {
  const ends = series.flatMap(({ distribution: { start, width, counts } }) => [
    start,
    start + width * counts.length,
  ]);
  const domain = [Math.max(Math.min(...ends, 89), 0), Math.min(Math.max(...ends, 91), 180)] as const;
  const outlines = series.map(({ distribution, color }) => ({ color, data: outline(distribution) }));
  const highest = Math.max(...outlines.flatMap(({ data }) => data.map(({ share }) => share)));
  const compared = reference ? curve(reference, domain) : [];
  // A reference much narrower than the measured angles would flatten their histogram: it is cut off at the top.
  const top = Math.min(Math.max(highest, ...compared.map(({ share }) => share)), 1.5 * highest);
  return chart(document, {
    label,
    x: { domain: [...domain], label: "angle", tickFormat: degreeTicks, ticks: 6 },
    y: { domain: [0, top], label: "% of pairs per degree", grid: true, ticks: 5 },
    marks: [
      ...outlines.flatMap(({ data, color }) => {
        const channels = { x: "angle", y: "share", curve: "step-after" } as const;
        return [
          Plot.areaY(data, { ...channels, fill: seriesColor(color), fillOpacity: 0.18 }),
          Plot.lineY(data, { ...channels, stroke: seriesColor(color), strokeWidth: 1.5 }),
        ];
      }),
      Plot.lineY(compared, {
        ...{ x: "angle", y: ({ share }: { share: number }) => Math.min(share, top) },
        ...{ strokeDasharray: "3 3", strokeWidth: 1.2 },
      }),
      Plot.ruleX([90], { strokeOpacity: 0.5 }),
      Plot.ruleY([0]),
    ],
  });
}

/** The upper edge of a histogram, from the ground line and back to it. */
function outline({ start, width, counts }: Distribution): { angle: number; share: number }[] {
  const pairs = counts.reduce((sum, count) => sum + count, 0);
  const share = (count: number) => (100 * count) / pairs / width;
  return [
    { angle: start, share: 0 },
    ...counts.map((count, bin) => ({ angle: start + bin * width, share: share(count) })),
    { angle: start + counts.length * width, share: 0 },
  ];
}

/** A density over the histogram's range, scaled so that its total from 0° to 180° is 100 %. */
function curve(
  density: AngleDensity,
  [from, to]: readonly [number, number],
): { angle: number; share: number }[] {
  let sum = 0;
  for (let angle = 0.005; angle < 180; angle += 0.01) sum += density(angle) * 0.01;
  return Array.from({ length: curvePoints + 1 }, (_, i) => {
    const angle = from + ((to - from) * i) / curvePoints;
    return { angle, share: (100 * density(angle)) / sum };
  });
}
