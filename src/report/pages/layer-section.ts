import type { LayerAngles, LayerResponseAngles, LayerWeightAngles } from "../../measure/angle-report.ts";
import { isComputed } from "../../measure/spectrum.ts";
import { type Figure, figureText, responseFigures, weightFigures } from "../angle-figures.ts";
import { type AngleDensity, angleHistogram, normalDensity, randomDensity } from "../plots/angle-histogram.ts";
import { cosineHeatMap, heatLegend, heatScale } from "../plots/cosine-heat-map.ts";
import { spectrumPlot } from "../plots/spectrum-plot.ts";
import type { Elements } from "./elements.ts";

export interface LayerModel {
  readonly name: string;
  /** Number of the model's colour on the page. */
  readonly color: number;
  readonly weight?: LayerWeightAngles;
  readonly response?: LayerResponseAngles;
}

/** The figures of one layer, for all models on top of each other or side by side. */
export function layerSection(h: Elements, id: string, layer: string, models: readonly LayerModel[]): Element {
  const weights = models.flatMap(({ weight, ...model }) => (weight ? [{ ...model, angles: weight }] : []));
  const responses = models.flatMap(({ response, ...model }) =>
    response ? [{ ...model, angles: response }] : [],
  );
  const [first] = [...weights, ...responses];
  const dimensions = weights[0]?.angles.fanIn ?? 0;
  const error = responses[0]?.angles.standardError ?? 0;
  return h.section(
    id,
    layer,
    ...(first ? h.facts(factsText(first.angles)) : []),
    h.figures(
      histogram(h, "Weight angles", weights, {
        name: "random weights",
        ...(dimensions > 2 && { density: randomDensity(dimensions) }),
      }),
      histogram(h, "Response angles", responses, {
        name: "by chance alone",
        ...(error > 0 && { density: normalDensity(error) }),
      }),
      spectrum(h, weights),
      convolution(h, weights),
      heatMaps(h, "Cosines between weights", weights),
      heatMaps(h, "Correlations between responses", responses),
    ),
    h.details(
      `All figures of ${layer}`,
      weights.length > 0 ? figureTable(h, `Weights of ${layer}`, weights, weightFigures) : undefined,
      responses.length > 0 ? figureTable(h, `Responses of ${layer}`, responses, responseFigures) : undefined,
    ),
  );
}

interface Measured<Layer extends LayerAngles> {
  readonly name: string;
  readonly color: number;
  readonly angles: Layer;
}

const factsText = ({ op, units, fanIn, groups }: LayerAngles): string =>
  `${op} of ${units} units, each of ${fanIn} weights${groups > 1 ? `, in ${groups} groups` : ""}`;

/** A sentence for each model. */
const sentences = <T extends { readonly name: string }>(
  items: readonly T[],
  say: (item: T) => string,
): string =>
  items.map((item) => (items.length > 1 ? `${item.name}: ${say(item)}.` : `${say(item)}.`)).join(" ");

function histogram(
  h: Elements,
  title: string,
  models: readonly Measured<LayerAngles>[],
  reference: { readonly name: string; readonly density?: AngleDensity },
): Element | undefined {
  const series = models.flatMap(({ color, angles }) =>
    angles.distribution ? [{ color, distribution: angles.distribution }] : [],
  );
  if (series.length === 0) return undefined;
  const { name, density } = reference;
  const text = sentences(models, ({ angles: { mean, spread, percentiles } }) => {
    const [low, high] = [percentiles[5], percentiles[95]].map((angle) => figureText(angle, "angle"));
    return `${figureText(mean, "angle")}° ± ${figureText(spread, "angle")}°, nine in ten pairs from ${low}° to ${high}°`;
  });
  return h.figure(
    title,
    angleHistogram(h.document, series, {
      label: `Histogram. ${text}`,
      ...(density && { reference: density }),
    }),
    { legend: h.legend([...models, ...(density ? [{ name }] : [])]), text },
  );
}

function heatMaps(h: Elements, title: string, models: readonly Measured<LayerAngles>[]): Element | undefined {
  const maps = models.flatMap(({ name, angles: { cosineMap, coherence } }) =>
    cosineMap && cosineMap.size > 1 ? [{ name, map: cosineMap, coherence }] : [],
  );
  const [first] = maps;
  if (!first) return undefined;
  const scale = heatScale(maps.map(({ map }) => map));
  const { unitsPerCell } = first.map;
  const rule =
    unitsPerCell > 1
      ? ` A cell stands for ${unitsPerCell} × ${unitsPerCell} units and shows the largest of their cosines.`
      : "";
  const largest = maps.map(({ name, coherence }) =>
    [...(maps.length > 1 ? [name] : []), figureText(coherence, "cosine")].join(" "),
  );
  const pictures = maps.map(({ name, map, coherence }) =>
    h.make(
      "div",
      {},
      maps.length > 1 ? h.make("span", {}, name) : undefined,
      cosineHeatMap(h.document, map, {
        scale,
        label: `${title} of ${name}, ${map.size} by ${map.size} cells, largest magnitude ${figureText(coherence, "cosine")}`,
      }),
    ),
  );
  const picture = h.make(
    "div",
    {},
    h.make("div", { class: "maps" }, ...pictures),
    heatLegend(h.document, scale),
  );
  return h.figure(title, picture, {
    ...{ text: `Largest magnitude: ${largest.join(", ")}.${rule}`, wide: maps.length > 1 },
  });
}

function spectrum(h: Elements, models: readonly Measured<LayerWeightAngles>[]): Element | undefined {
  const found = models.flatMap(({ name, color, angles }) =>
    angles.spectrum && isComputed(angles.spectrum)
      ? [{ name, color, ...angles.spectrum, values: angles.spectrum.singularValues }]
      : [],
  );
  if (found.length === 0) return undefined;
  const text = sentences(
    found,
    ({ largest, smallest, stableRank, effectiveRank, count }) =>
      `from ${short(largest)} to ${short(smallest)}, stable rank ${short(stableRank)}, effective rank ${short(effectiveRank)} of ${count}`,
  );
  return h.figure("Singular values", spectrumPlot(h.document, found, `Singular values. ${text}`), {
    legend: h.legend(found),
    text,
  });
}

function convolution(h: Elements, models: readonly Measured<LayerWeightAngles>[]): Element | undefined {
  const found = models.flatMap(({ name, color, angles }) =>
    angles.convolution && isComputed(angles.convolution)
      ? [{ name, color, ...angles.convolution, values: angles.convolution.profile }]
      : [],
  );
  const [first] = found;
  if (!first) return undefined;
  const text = sentences(
    found,
    ({ largest, smallest, count }) => `${count} from ${short(largest)} to ${short(smallest)}`,
  );
  const grid = `as a map of images of ${first.grid.join(" × ")} positions, circular padding`;
  return h.figure(
    "Singular values of the convolution",
    spectrumPlot(h.document, found, `Singular values of the convolution. ${text}`),
    { legend: h.legend(found), text: `${text} The convolution ${grid}.` },
  );
}

const short = (value: number): string => figureText(value, "number");

function figureTable<Layer extends LayerAngles>(
  h: Elements,
  caption: string,
  models: readonly Measured<Layer>[],
  figures: readonly Figure<Layer>[],
): Element {
  const shown = figures.filter(({ value }) => models.some(({ angles }) => !Number.isNaN(value(angles))));
  return h.table(
    caption,
    [
      { text: "figure", kind: "text" },
      ...models.map(({ name }) => ({ text: name })),
      { text: "what it is", kind: "text" },
    ],
    shown.map(({ key, meaning, form, value }) => [
      key,
      ...models.map(({ angles }) => `${figureText(value(angles), form)}${form === "percent" ? " %" : ""}`),
      meaning,
    ]),
  );
}
