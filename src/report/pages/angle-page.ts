import { checkFields, checkList } from "../../check-arguments.ts";
import { checkOptions } from "../../known-options.ts";
import type { LayerAngles } from "../../measure/angle-report.ts";
import type { ModelAngles } from "../angle-csv.ts";
import { type Figure, figureText, responseFigures, weightFigures } from "../angle-figures.ts";
import { angleRemarks } from "../angle-remarks.ts";
import { type LayerSpread, spreadOverview } from "../plots/spread-overview.ts";
import type { RunRecord } from "../run-record.ts";
import { layersSideBySide, shortNames } from "../side-by-side.ts";
import { angleTrends } from "./angle-trends.ts";
import type { Child, Elements } from "./elements.ts";
import { type LayerModel, layerSection } from "./layer-section.ts";
import { pageText } from "./page.ts";

/** A model, its measurements, and the record of the run that trained it, if there is one. */
export interface PageModel extends ModelAngles {
  readonly run?: RunRecord;
}

/** Contents of the page besides the figures. */
export interface AnglePageOptions {
  /** Source and number of the samples for response angles: `mnist, 512 samples`. */
  readonly data?: string;
}

/** Writes the page of {@link angleReportPage} in an empty document. */
export function anglePage(
  document: Document,
  models: readonly PageModel[],
  options: AnglePageOptions = {},
): Promise<string> {
  checkList("models of angleReportPage", models);
  checkOptions("angleReportPage", options);
  for (const one of models) {
    checkFields(
      "a model of angleReportPage is { model, weights }, with what weightAngles gives",
      one,
      "weights",
    );
  }
  const names = shortNames(models.map(({ model }) => model));
  const title = `Angles between the units of ${names.join(", ")}`;
  const layers = [
    ...new Set(
      models.flatMap(({ weights, responses }) =>
        [...weights.layers, ...(responses?.layers ?? [])].map(({ name }) => name),
      ),
    ),
  ];
  return pageText(document, title, (h) => [
    ...introduction(h, models, options),
    h.make(
      "nav",
      { "aria-label": "Layers" },
      h.list(layers.map((name, index) => h.make("a", { href: `#layer-${index + 1}` }, name))),
    ),
    overview(h, models, names),
    ...layers.map((name, index) =>
      layerSection(h, `layer-${index + 1}`, name, layerModels(models, names, name)),
    ),
    ...trends(h, models, names),
    explanation(h),
  ]);
}

function introduction(h: Elements, models: readonly PageModel[], { data }: AnglePageOptions): Element[] {
  const files = models.map(({ model }) => model).join(", ");
  const responses = models.some((model) => model.responses)
    ? ` Response angles: between the units' responses${data === undefined ? "" : ` to ${data}`}.`
    : " Response angles were not measured: they need data (--data).";
  return h.facts(
    `${files}. Weight angles: between the units' weight vectors.${responses} At 90° units are orthogonal.`,
  );
}

/** Highest rank of the figures in the overview's tables. */
const overviewRank = 5;

function overview(h: Elements, models: readonly PageModel[], names: readonly string[]): Element {
  const named = models.map((model, index) => ({ ...model, name: names[index] ?? "" }));
  const weights = named.map(({ name, weights: report }) => ({ model: name, report }));
  const responses = named.flatMap(({ name, responses: report }) => (report ? [{ model: name, report }] : []));
  const spreads = <Layer extends LayerAngles>(
    reports: Parameters<typeof layersSideBySide<Layer>>[0],
    reference: (layer: Layer) => number,
  ) =>
    layersSideBySide(reports)
      .filter(({ layer }) => layer.pairs > 0)
      .map(({ model, layer }) => ({
        ...{ layer: layer.name, spread: layer.spread, reference: reference(layer) },
        color: names.indexOf(model),
      }));
  const spread = (kind: string, layers: readonly LayerSpread[], reference: string, zero: string) =>
    layers.length > 0
      ? h.figure(
          `${kind} angles: spread`,
          spreadOverview(h.document, layers, `Spread of the ${kind.toLowerCase()} angles of each layer`),
          {
            legend: h.legend([...names.map((name, color) => ({ name, color })), { name: reference }]),
            text: `0° is ${zero}. The table has the numbers.`,
          },
        )
      : undefined;
  const remarks = named.flatMap(({ name, weights: own, responses: others }) =>
    [
      ...new Set([
        ...angleRemarks(own),
        ...(others ? angleRemarks(others).map((text) => `responses, ${text}`) : []),
      ]),
    ].map((text) => (names.length > 1 ? `${name}: ${text}` : text)),
  );
  return h.section(
    "overview",
    "All layers",
    h.figures(
      spread(
        "Weight",
        spreads(weights, ({ random }) => random),
        "random weights",
        "orthogonal",
      ),
      spread(
        "Response",
        spreads(responses, ({ standardError }) => standardError),
        "by chance alone",
        "uncorrelated",
      ),
    ),
    overviewTable(h, "Weight angles", layersSideBySide(weights), weightFigures, names.length > 1),
    responses.length > 0
      ? overviewTable(h, "Response angles", layersSideBySide(responses), responseFigures, names.length > 1)
      : undefined,
    remarks.length > 0 ? h.make("h3", {}, "Remarks") : undefined,
    h.list(remarks),
  );
}

function overviewTable<Layer extends LayerAngles>(
  h: Elements,
  caption: string,
  rows: readonly { readonly model: string; readonly layer: Layer }[],
  figures: readonly Figure<Layer>[],
  several: boolean,
): Element {
  // The most important figures come first: a phone shows them without scrolling.
  const shown = figures
    .filter(
      ({ rank, value }) =>
        rank !== undefined && rank <= overviewRank && rows.some(({ layer }) => !Number.isNaN(value(layer))),
    )
    .sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0));
  return h.table(
    caption,
    [
      { text: "layer", kind: "text" },
      ...(several ? [{ text: "model", kind: "text" } as const] : []),
      ...shown.map(({ heading, meaning }) => ({ text: heading, meaning })),
    ],
    rows.map(({ model, layer }) => [
      layer.name,
      ...(several ? [model] : []),
      ...shown.map(({ value, form }) => figureText(value(layer), form)),
    ]),
  );
}

function layerModels(models: readonly PageModel[], names: readonly string[], layer: string): LayerModel[] {
  return models.flatMap(({ weights, responses }, color) => {
    const weight = weights.layers.find(({ name }) => name === layer);
    const response = responses?.layers.find(({ name }) => name === layer);
    return weight || response
      ? [{ name: names[color] ?? "", color, ...(weight && { weight }), ...(response && { response }) }]
      : [];
  });
}

function trends(h: Elements, models: readonly PageModel[], names: readonly string[]): Child[] {
  const runs = models.flatMap(({ run }, index) =>
    run && run.angles.length > 0 ? [{ name: names[index] ?? "", color: index, record: run }] : [],
  );
  if (runs.length === 0) return [];
  const trained = runs.map(({ name }) => name).join(" and ");
  return [
    h.section(
      "training",
      `While ${trained} ${runs.length > 1 ? "were" : "was"} trained`,
      angleTrends(h, runs),
    ),
  ];
}

function explanation(h: Elements): Element {
  const term = (name: string, text: string) => h.make("li", {}, h.make("strong", {}, name), ` ${text}`);
  return h.section(
    "reading",
    "How to read this",
    h.make(
      "ul",
      {},
      term("Weight angle:", "acos of the cosine of two units' weight vectors; biases take no part."),
      term(
        "Response angle:",
        "90°·(1 − ϑ), where ϑ is the correlation of tanh(γ·response) of two units over all rows. On real data this is not the weight angle: inputs that are correlated, or never negative, tilt it.",
      ),
      term(
        "Spread:",
        "standard deviation of the angles. Random weights of d numbers have about 57.3°/√d, orthogonal units 0°.",
      ),
      term(
        "By chance alone:",
        "an angle measured on b independent rows of uncorrelated responses has a standard error of 90°/√b; a spread below that cannot be distinguished from 0°.",
      ),
      term(
        "Heat maps:",
        "the cosine of every two units; with many units, a cell shows the largest among its pairs.",
      ),
      term(
        "Singular values:",
        "of the weight with units as rows; orthogonal units of equal length have equal ones. For a convolution also those of the map from image to image (circular padding).",
      ),
    ),
    h.paragraph("Formulas and sources: docs/angles.md of sorth-onnx."),
  );
}
