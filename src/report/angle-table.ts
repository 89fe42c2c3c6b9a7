import type {
  AngleReport,
  LayerAngles,
  LayerResponseAngles,
  LayerWeightAngles,
} from "../measure/angle-report.ts";
import { type Figure, figureText, responseFigures, weightFigures } from "./angle-figures.ts";
import { layersSideBySide, type NamedReport } from "./side-by-side.ts";
import { fitTable, type TableColumn } from "./table.ts";

/** Options of an angle table. */
interface AngleTableOptions {
  /** Most characters in a line; without it, lines may be of any length. */
  readonly width?: number;
  /** Styles the headings. */
  readonly paint?: (heading: string) => string;
}

/** A table, and the headings of the columns that did not fit. */
export interface AngleTable {
  readonly text: string;
  readonly leftOut: readonly string[];
}

/**
 * Weight angles as a table: one line per layer and model, with the models of one layer side by side. Columns that do not fit
 * are left out.
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
