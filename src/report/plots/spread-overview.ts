import * as Plot from "@observablehq/plot";
import { chart, degreeTicks, seriesColor } from "./chart.ts";

/** The spread of one layer in one model. */
export interface LayerSpread {
  readonly layer: string;
  readonly spread: number;
  /** Number of its colour on the page. */
  readonly color: number;
  /** The value to compare with: the spread of random weights, or the error of responses. */
  readonly reference: number;
}

/** Most letters of a layer's name in the picture. */
const nameLength = 17;

/** The spreads of all layers, one line each; a stroke marks the value to compare with. */
export function spreadOverview(
  document: Document,
  spreads: readonly LayerSpread[],
  label: string,
): SVGSVGElement {
  const layers = [...new Set(spreads.map(({ layer }) => layer))];
  return chart(document, {
    label,
    ...{ height: 46 + 20 * layers.length, marginLeft: 112, marginTop: 8, marginBottom: 36 },
    x: { zero: true, grid: true, ticks: 5, label: "spread of the angles", tickFormat: degreeTicks },
    y: { domain: layers, label: null, tickFormat: shortened, tickSize: 0 },
    marks: [
      Plot.tickX(spreads, { x: "reference", y: "layer", strokeOpacity: 0.7, strokeWidth: 1.5 }),
      Plot.dot(spreads, {
        ...{ x: "spread", y: "layer", r: 4 },
        fill: ({ color }: LayerSpread) => seriesColor(color),
      }),
    ],
    color: { type: "identity" },
  });
}

/** Keeps the end of a long name, which is the most telling part. */
const shortened = (name: string): string =>
  name.length > nameLength ? `…${name.slice(1 - nameLength)}` : name;
