import CliTable3 from "cli-table3";

/** A column of a {@link formatTable}. */
export interface Column {
  readonly heading: string;
  /** Numbers stand right (default left). */
  readonly align?: "left" | "right";
}

/** No lines at all; two spaces part the columns. */
const borderless = {
  ...{ top: "", "top-mid": "", "top-left": "", "top-right": "" },
  ...{ bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "" },
  ...{ left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "  " },
};

/**
 * A table as text: columns aligned by what is seen on a terminal, a line of headings first, no borders, nothing at the
 * end of a line. Colours appear only through `paint` and through cells that bring their own.
 * @param paint - changes how headings look; give `dim` or `bold` of picocolors where the stream is a terminal
 *
 * @example
 * formatTable([{ heading: "layer" }, { heading: "units", align: "right" }], [["conv1", "16"]]);
 * // layer  units
 * // conv1     16
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  paint: (heading: string) => string = (heading) => heading,
): string {
  const table = new CliTable3({
    chars: borderless,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
    colAligns: columns.map(({ align }) => align ?? "left"),
  });
  // Line breaks would tear a row apart.
  const oneLine = (cell: string) => cell.replace(/\s*[\r\n]+\s*/g, " ");
  table.push(columns.map(({ heading }) => paint(heading)));
  for (const row of rows) table.push(columns.map((_, index) => oneLine(row[index] ?? "")));
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

/** A number with fixed digits for a cell; a dash where there is none. */
export function fixed(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);
}
