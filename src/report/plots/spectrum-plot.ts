import { curves } from "./curves.ts";

/** Singular values of one model's layer, descending. */
interface SpectrumSeries {
  readonly values: readonly number[];
  /** Number of its colour on the page. */
  readonly color: number;
}

/** Most points of a curve; more singular values are thinned out evenly. */
const mostPoints = 200;

/** Singular values in descending order; the x axis is their position in per cent. */
export function spectrumPlot(
  document: Document,
  series: readonly SpectrumSeries[],
  label: string,
): SVGSVGElement {
  return curves(
    document,
    series.map(({ values, color }) => {
      const last = Math.max(values.length - 1, 1);
      const step = Math.max(last / mostPoints, 1);
      const places = Array.from({ length: Math.floor(last / step) + 1 }, (_, i) => Math.round(i * step));
      return {
        color,
        dots: values.length <= 32,
        points: places.flatMap((place) => {
          const y = values[place];
          return y === undefined ? [] : [{ x: (100 * place) / last, y }];
        }),
      };
    }),
    {
      label,
      x: { domain: [0, 100], label: "place, from the largest", tickFormat: (share: number) => `${share} %` },
      y: { zero: true, label: "singular value" },
    },
  );
}
