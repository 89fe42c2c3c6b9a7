import CliTable3 from "cli-table3";
import { checkList } from "../check-arguments.ts";
import { visible, visibleLines } from "../visible.ts";

/** A column of a {@link formatTable}. */
export interface TableColumn {
  readonly heading: string;
  /** Alignment of the cells; numbers go to the right (default left). */
  readonly align?: "left" | "right";
  /** If a table is too wide, columns of the highest rank are left out first; one without a rank stays. */
  readonly rank?: number;
  /** If the table is still too wide, the cells of this column are cut. */
  readonly shrinks?: boolean;
}

/** No lines; two spaces separate the columns. */
const borderless = {
  ...{ top: "", "top-mid": "", "top-left": "", "top-right": "" },
  ...{ bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "" },
  ...{ left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "  " },
};

/**
 * A table as text: columns aligned by their visible width on a terminal, a line of headings first, no borders, no spaces at
 * the end of a line. Colours come only from `paint` and from cells that contain some. Cells of more than 300 characters lose
 * their middle.
 * @param paint - styles the headings; pass `dim` or `bold` of picocolors if the stream is a terminal
 *
 * @example
 * formatTable([{ heading: "layer" }, { heading: "units", align: "right" }], [["conv1", "16"]]);
 * // layer  units
 * // conv1     16
 */
export function formatTable(
  columns: readonly TableColumn[],
  rows: readonly (readonly string[])[],
  paint: (heading: string) => string = (heading) => heading,
): string {
  checkList("columns of a table", columns);
  checkList("rows of a table", rows);
  const heads = columns.map(({ heading }) => paint(heading));
  const all = [heads, ...rows.map((row) => columns.map((_, index) => oneLine(row[index] ?? "")))];
  const parts = Array.from({ length: Math.ceil(all.length / rowsAtOnce) }, (_, part) =>
    all.slice(part * rowsAtOnce, (part + 1) * rowsAtOnce),
  );
  const found = parts.map((part) => layOut(columns, part));
  if (found.length === 1) return found[0]?.text ?? "";
  const widths = columns.map((_, index) => Math.max(...found.map((one) => one.widths[index] ?? 0)));
  return parts.map((part) => layOut(columns, part, widths).text).join("\n");
}

/** Rows that are laid out together: cli-table3 takes time with the square of their number. */
const rowsAtOnce = 200;

/** Some rows of a table as text. @param given - widths of the columns; by default those of the rows' cells */
function layOut(
  columns: readonly TableColumn[],
  rows: readonly (readonly string[])[],
  given: readonly number[] = [],
): { text: string; widths: readonly (number | null)[] } {
  const table = new CliTable3({
    chars: borderless,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
    colAligns: columns.map(({ align }) => align ?? "left"),
    colWidths: [...given],
  });
  table.push(...rows.map((row) => [...row]));
  const lines = table.toString().split("\n");
  // The library has set them.
  return { text: lines.map((line) => line.trimEnd()).join("\n"), widths: table.options.colWidths };
}

/** Longest cell: names in a file may have millions of characters, and each row is as wide as the widest one. */
const longestCell = 300;

/** Replaces line breaks and control characters, which would break the row or the terminal; colours stay. */
const oneLine = (cell: string): string =>
  visibleLines(cut(cell, longestCell).replace(/\s*[\r\n]+\s*/g, " "), true);

const separator = "  ";
/** Least width of a cell that is cut. */
const leastWidth = 6;

/**
 * A table with at most `width` characters per line: columns are left out by their rank, then the cells of those that shrink
 * are cut in the middle, `encoder.lay…ight`. Cells have no colours: control characters are escaped.
 */
export function fitTable(
  columns: readonly TableColumn[],
  rows: readonly (readonly string[])[],
  width: number,
  paint?: (heading: string) => string,
): { text: string; leftOut: readonly string[] } {
  const cells = rows.map((row) =>
    columns.map((_, index) => visible(cut(row[index] ?? "", longestCell).replace(/\s*[\r\n]+\s*/g, " "))),
  );
  const widths = columns.map(({ heading }, index) =>
    Math.max(heading.length, ...cells.map((row) => row[index]?.length ?? 0)),
  );
  let kept = columns.map((_, index) => index);
  const total = () =>
    kept.reduce((sum, index) => sum + (widths[index] ?? 0) + separator.length, -separator.length);
  while (total() > width) {
    const highest = Math.max(...kept.map((index) => columns[index]?.rank ?? -1));
    const last = kept.findLast((index) => columns[index]?.rank === highest);
    if (last === undefined) break;
    kept = kept.filter((index) => index !== last);
  }
  const shrinking = kept.filter((index) => columns[index]?.shrinks);
  for (let excess = total() - width; excess > 0; excess = total() - width) {
    const widest = shrinking.reduce(
      (a, b) => ((widths[b] ?? 0) > (widths[a] ?? 0) ? b : a),
      shrinking[0] ?? 0,
    );
    if (shrinking.length === 0 || (widths[widest] ?? 0) <= leastWidth) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  const text = formatTable(
    kept.map((index) => columns[index] as TableColumn),
    cells.map((row) => kept.map((index) => cut(row[index] ?? "", widths[index] ?? 0))),
    paint,
  );
  const leftOut = columns.filter((_, index) => !kept.includes(index)).map(({ heading }) => heading);
  return { text, leftOut };
}

/** A text of at most `width` characters; a longer one loses its middle. */
function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  const end = Math.floor((width - 1) / 2);
  return `${text.slice(0, width - 1 - end)}…${text.slice(text.length - end)}`;
}

/** A number with fixed digits for a cell; a dash if it is missing. */
export function fixed(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);
}
