import type {
  AngleReport,
  LayerAngles,
  LayerResponseAngles,
  LayerWeightAngles,
} from "../measure/angle-report.ts";
import { type Figure, figureText, responseFigures, weightFigures } from "./angle-figures.ts";
import { layersSideBySide, type NamedReport } from "./side-by-side.ts";
import { fitTable, type TableColumn } from "./table.ts";

/** How a table is shown. */
export interface AngleTableOptions {
  /** Characters that a line may have (default: any number). */
  readonly width?: number;
  /** Changes how headings look. */
  readonly paint?: (heading: string) => string;
}

/** A table, and the headings of the columns for which it was too narrow. */
export interface AngleTable {
  readonly text: string;
  readonly leftOut: readonly string[];
}

/**
 * Weight angles as a table: one line a layer and model, those of the same layer side by side. What does not fit is left
 * out column by column.
 */
export function weightAngleTable(
  reports: readonly NamedReport<AngleReport<LayerWeightAngles>>[],
  options: AngleTableOptions = {},
): AngleTable {
  return angleTable(reports, weightFigures, options);
}

/** Response angles as a table, as {@link weightAngleTable}. */
export function responseAngleTable(
  reports: readonly NamedReport<AngleReport<LayerResponseAngles>>[],
  options: AngleTableOptions = {},
): AngleTable {
  return angleTable(reports, responseFigures, options);
}

function angleTable<Layer extends LayerAngles>(
  reports: readonly NamedReport<AngleReport<Layer>>[],
  figures: readonly Figure<Layer>[],
  { width = Number.POSITIVE_INFINITY, paint }: AngleTableOptions,
): AngleTable {
  const several = reports.length > 1;
  const entries = layersSideBySide(reports);
  const shown = figures.filter(
    ({ rank, value }) => rank !== undefined && entries.some(({ layer }) => !Number.isNaN(value(layer))),
  );
  const columns: TableColumn[] = [
    { heading: "layer", shrinks: true },
    { heading: "op", rank: 6 },
    ...(several ? [{ heading: "model", shrinks: true }] : []),
    ...shown.map(({ heading, rank }): TableColumn => ({ heading, align: "right", ...(rank && { rank }) })),
  ];
  const rows = entries.map(({ model, layer }) => [
    layer.name,
    layer.op,
    ...(several ? [model] : []),
    ...shown.map(({ value, form }) => figureText(value(layer), form)),
  ]);
  return fitTable(columns, rows, width, paint);
}

/** What a table has no room for: which units are dead or alike, what was sampled, left out or not worked out. */
export function angleRemarks({ layers, skipped }: AngleReport<LayerAngles | LayerWeightAngles>): string[] {
  return [
    ...layers.flatMap(layerRemarks),
    ...skipped.map(({ name, reason }) => `${name}: skipped, ${reason}`),
  ];
}

/** How many units a remark names. */
const namedUnits = 10;

function layerRemarks(layer: LayerAngles | LayerWeightAngles): string[] {
  const { name, dead, deadUnits, duplicates, antiparallel, sampledUnits, units } = layer;
  const pairs = ({ count, first }: LayerAngles["duplicates"], what: string) => {
    if (count === 0) return [];
    const named = first.slice(0, namedUnits).map(([i, j]) => `${i}–${j}`);
    return [`${count} ${count === 1 ? "pair" : "pairs"} of units ${what} (${listed(named, count)})`];
  };
  const weight = "orthogonality" in layer ? layer : undefined;
  const parts = [
    ...(dead > 0
      ? [`${dead} dead ${dead === 1 ? "unit" : "units"} (${listed(deadUnits.slice(0, namedUnits), dead)})`]
      : []),
    ...pairs(duplicates, "alike"),
    ...pairs(antiparallel, "opposite"),
    ...(sampledUnits === undefined
      ? []
      : [`pairs of ${sampledUnits} of its ${units} units, drawn evenly; --full takes all`]),
    ...[weight?.spectrum, weight?.convolution].flatMap((part) =>
      part && "notComputed" in part ? [part.notComputed] : [],
    ),
    ...gridRemark(weight),
  ];
  return parts.map((part) => `${name}: ${part}`);
}

function gridRemark(layer: LayerWeightAngles | undefined): string[] {
  const found = layer?.convolution;
  if (!found || "notComputed" in found || `${found.grid}` === `${found.inputSize}`) return [];
  const [grid, size] = [found.grid.join("×"), found.inputSize.join("×")];
  return [`convolution worked out for an image of ${grid} instead of ${size}; --full takes the whole one`];
}

const listed = (items: readonly (string | number)[], count: number): string =>
  `${items.join(", ")}${count > items.length ? ", …" : ""}`;
