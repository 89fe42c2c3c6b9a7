import type {
  AngleReport,
  LayerAngles,
  LayerResponseAngles,
  LayerWeightAngles,
} from "../measure/angle-report.ts";
import { type Figure, responseFigures, weightFigures } from "./angle-figures.ts";
import { csvCell } from "./csv-cell.ts";

/** Measurements of one model. */
export interface ModelAngles {
  readonly model: string;
  readonly weights: AngleReport<LayerWeightAngles>;
  readonly responses?: AngleReport<LayerResponseAngles>;
}

/**
 * Weight and response angles as comma-separated values (RFC 4180): a line of names, then one line per model and layer. A
 * column has the name of the figure's path in the JSON. A missing figure is empty; a layer without angles has the reason in
 * the column `skipped`. Control characters in names are written as JSON writes them; a name that a spreadsheet would read as
 * a formula gets a leading apostrophe.
 */
export function angleCsv(models: readonly ModelAngles[]): string {
  const withResponses = models.some(({ responses }) => responses !== undefined);
  const header = [
    ...["model", "layer", "op", "groups", "skipped"],
    ...weightFigures.map(({ key }) => `weights.${key}`),
    ...(withResponses ? responseFigures.map(({ key }) => `responses.${key}`) : []),
  ];
  const lines = models.flatMap(({ model, weights, responses }) => {
    const reports = [weights, ...(responses ? [responses] : [])];
    const names = new Set(
      reports.flatMap(({ layers, skipped }) => [...layers, ...skipped]).map(({ name }) => name),
    );
    return [...names].map((name) => {
      const weight = weights.layers.find((layer) => layer.name === name);
      const response = responses?.layers.find((layer) => layer.name === name);
      const layer: LayerAngles | undefined = weight ?? response;
      const reasons = reports.flatMap(({ skipped }) => skipped.filter((site) => site.name === name));
      return [
        ...[model, name, layer?.op ?? reasons[0]?.op ?? "", layer ? `${layer.groups}` : ""],
        [...new Set(reasons.map(({ reason }) => reason))].join("; "),
        ...cells(weightFigures, weight),
        ...(withResponses ? cells(responseFigures, response) : []),
      ];
    });
  });
  return `${[header, ...lines].map((line) => line.map(csvCell).join(",")).join("\r\n")}\r\n`;
}

function cells<Layer>(figures: readonly Figure<Layer>[], layer: Layer | undefined): string[] {
  return figures.map(({ value }) => {
    const number = layer === undefined ? Number.NaN : value(layer);
    return Number.isNaN(number) ? "" : `${number}`;
  });
}
