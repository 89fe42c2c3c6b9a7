/** A value in a row; null where there is none. In a list, NaN stands where a number is missing. */
export type Cell = string | number | boolean | readonly number[] | null;

/** The rows of a file, which can be read several times. */
export interface TableSource {
  /** The file, for messages. */
  readonly name: string;
  readonly columns: readonly string[];
  /** What the file counts, and its number for the first row: "line", 2; a Parquet file its "index", 0, as pandas and `predict` do. */
  readonly counts: { readonly what: "line" | "index"; readonly first: number };
  /** The lines of the rows read so far, where rows may take several lines and lines may be empty. */
  readonly lines?: RowLines;
  /** The place of a row that was read, where the rows lie in several files. */
  readonly place?: (row: number) => string;
  /** Names of classes that the file records for columns of their numbers, as Hugging Face's ClassLabel. */
  readonly classNames?: ReadonlyMap<string, readonly string[]>;
  /**
   * Reads the rows, some at a time; each has one cell for every column.
   * @param only - the columns that are needed: the cells of others may be null, whatever the file holds there
   */
  rows(only?: readonly string[]): AsyncIterable<readonly (readonly Cell[])[]>;
}

/** In which line of its file each row ends. */
export class RowLines {
  /** Rows from which on the line is this much more than the number of the row. */
  #shifts: { readonly from: number; readonly by: number }[] = [];

  note(row: number, line: number): void {
    if (row === 0) this.#shifts = [];
    if (line - row !== this.#shifts.at(-1)?.by) this.#shifts.push({ from: row, by: line - row });
  }

  of(row: number): number | undefined {
    const shift = this.#shifts.findLast(({ from }) => from <= row);
    return shift && row + shift.by;
  }
}

/** The place of a row in its file, for messages: rows count from 1. */
export const placeOf = (
  { counts, lines, place }: Pick<TableSource, "counts" | "lines" | "place">,
  row: number,
): string => place?.(row) ?? `row ${row + 1} (${counts.what} ${lines?.of(row) ?? counts.first + row})`;

/** Rows handed on at a time. */
const chunk = 4096;

/** Rows that a file gives one by one, some at a time. */
export async function* inChunks<Row>(rows: AsyncIterable<Row>): AsyncGenerator<Row[], void, undefined> {
  let some: Row[] = [];
  for await (const row of rows) {
    some.push(row);
    if (some.length < chunk) continue;
    yield some;
    some = [];
  }
  if (some.length > 0) yield some;
}

/** Texts that stand for a missing value, as in pandas and in the UCI archive. */
const missingTexts = new Set([
  ...["", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "?"],
  ...["#N/A N/A", "#NA", "-NaN", "-nan", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"],
]);

/** Whether a cell holds no value, or a list that lacks some. */
export const isMissing = (cell: Cell | undefined): boolean =>
  cell === null ||
  cell === undefined ||
  (typeof cell === "string" && missingTexts.has(cell.trim())) ||
  (typeof cell === "number" && Number.isNaN(cell)) ||
  (typeof cell === "object" && cell.some(Number.isNaN));

const numberText = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

/** How tables of text write true and false, pandas and R among them. */
const truthTexts = { false: ["false", "False", "FALSE"], true: ["true", "True", "TRUE"] };

/** True or false in a cell; undefined for any other value. */
export function truthIn(cell: Cell | undefined): boolean | undefined {
  if (typeof cell === "boolean") return cell;
  if (typeof cell !== "string") return undefined;
  const text = cell.trim();
  return truthTexts.true.includes(text) ? true : truthTexts.false.includes(text) ? false : undefined;
}

/** The index of each text. One that says true or false has it in every spelling: CSV and Parquet differ in that. */
export function indexOfTexts(texts: readonly string[]): ReadonlyMap<string, number> {
  const spelled = texts.flatMap((text, i) => {
    const truth = truthIn(text);
    return truth === undefined ? [] : truthTexts[`${truth}`].map((other) => [other, i] as const);
  });
  return new Map([...spelled, ...texts.map((text, i) => [text, i] as const)]);
}

/** The number in a cell, 1 for true and 0 for false; undefined for any other value. */
export function numberIn(cell: Cell | undefined): number | undefined {
  if (typeof cell === "number") return cell;
  const truth = truthIn(cell);
  if (truth !== undefined) return truth ? 1 : 0;
  if (typeof cell !== "string") return undefined;
  const text = cell.trim();
  if (/^[-+]?inf(inity)?$/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  return numberText.test(text) ? Number(text) : undefined;
}

/** Whether a cell is a whole number that would lose digits. */
export const losesDigits = (cell: Cell | undefined): boolean =>
  typeof cell === "string" && /^\s*[-+]?\d{16,}\s*$/.test(cell) && !Number.isSafeInteger(Number(cell));

/** What is wrong with such a number, as the end of a sentence. */
export const tooLarge = (number: unknown): string =>
  `holds ${number}, which is too large to be exact (2^53 is the limit): divide it, put letters before it, or leave its column out with --columns`;

/**
 * The numbers of a list, or of lists in it that are equally long: NaN for each that is missing, 1 and 0 for true and false; undefined
 * for anything else.
 */
export function numbersOf(list: ArrayLike<unknown>): number[] | undefined {
  const items = Array.from(list);
  const lacks = (one: unknown) => one === null || one === undefined;
  if (items.every((one) => lacks(one) || /^(number|bigint|boolean)$/.test(typeof one)))
    return items.map((one) => (lacks(one) ? Number.NaN : Number(one)));
  const isList = (one: unknown) => Array.isArray(one) || ArrayBuffer.isView(one);
  const parts = items.map((one) => (isList(one) ? numbersOf(one as ArrayLike<unknown>) : undefined));
  const length = parts.find((part) => part !== undefined)?.length ?? 0;
  const isWhole = parts.every((part, i) => (part ? part.length === length : lacks(items[i])));
  return isWhole ? parts.flatMap((part) => part ?? new Array<number>(length).fill(Number.NaN)) : undefined;
}

/** The text in a cell. */
export const textIn = (cell: Cell | undefined): string =>
  typeof cell === "string" ? cell.trim() : String(cell);
