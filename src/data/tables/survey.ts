import { DataError } from "../../errors.ts";
import {
  type Cell,
  isMissing,
  losesDigits,
  numberIn,
  placeOf,
  type TableSource,
  textIn,
  tooLarge,
  truthIn,
} from "./table-source.ts";

/** Most different texts of a column. */
const mostCategories = 4096;

/** What a column of a table holds. */
export interface SurveyedColumn {
  readonly name: string;
  /** Its place in a row. */
  readonly at: number;
  readonly kind: "number" | "category" | "list";
  /** Its texts, sorted. */
  readonly categories: readonly string[];
  /** The length of the longest list; only for columns of lists. */
  readonly length: number;
  /** The first list that is not as long as those before; undefined if all are equally long. */
  readonly other: { readonly row: number; readonly length: number } | undefined;
  readonly missing: number;
  /** How many of these rows hold a list that lacks some of its numbers. */
  readonly gaps: number;
  /** It holds true and false: classes as labels, 1 and 0 as data. */
  readonly yesOrNo: boolean;
  /** The first row without a value. */
  readonly firstMissing: number;
}

/**
 * Reads a table once and finds what its columns hold.
 * @param drops - whether rows without a value will be left out
 * @throws SorthError for columns that mix lists and single values
 */
export async function survey(
  source: TableSource,
  names: readonly string[],
  drops = false,
): Promise<{ readonly rows: number; readonly columns: readonly SurveyedColumn[] }> {
  const places = new Map(source.columns.map((name, place) => [name, place]));
  const found = names.map((name) => new ColumnSurvey(source, name, places.get(name) ?? -1));
  let rows = 0;
  for await (const chunk of source.rows(names)) {
    for (const row of chunk) {
      const isDropped = drops && found.some((column) => isMissing(row[column.at]));
      for (const column of found) column.add(row[column.at], rows, isDropped);
      rows += 1;
    }
  }
  if (rows === 0) throw new DataError(`${source.name}: there are no rows`);
  return { rows, columns: found.map((column) => column.result()) };
}

/** A list of numbers in a cell of text, as Python and NumPy print it. */
const listText = /^\[\s*[-+\d.][-+\d.,eE\s]*\]$/;

class ColumnSurvey {
  readonly at: number;
  readonly #source: TableSource;
  readonly #name: string;
  #texts = new Set<string>();
  #isText = false;
  #firstText: { row: number; text: string } | undefined;
  #numbers = 0;
  #textCount = 0;
  #truths = 0;
  /** Whether all numbers are 1 or 0, which beside true and false are the same. */
  #isTruth = true;
  #length: number | undefined;
  #other: { row: number; length: number } | undefined;
  #missing = 0;
  #gaps = 0;
  #firstMissing = -1;

  constructor(source: TableSource, name: string, at: number) {
    this.#source = source;
    this.#name = name;
    this.at = at;
  }

  /** @param isDropped - whether the row will be left out: the length of its lists does not count */
  add(cell: Cell | undefined, row: number, isDropped: boolean): void {
    if (isMissing(cell)) {
      if (this.#missing === 0) this.#firstMissing = row;
      this.#missing += 1;
      if (typeof cell !== "object" || cell === null) return;
      this.#gaps += 1;
    }
    if (typeof cell === "object" && cell !== null) {
      if (isDropped) return;
      if (this.#numbers > 0 || this.#isText) {
        throw this.#error(row, `holds a list of ${cell.length} numbers, unlike the rows before`);
      }
      this.#length ??= cell.length;
      if (this.#length !== cell.length) this.#other ??= { row, length: cell.length };
      this.#length = Math.max(this.#length, cell.length);
      return;
    }
    if (this.#length !== undefined) {
      throw this.#error(
        row,
        `holds ${textIn(cell)}, where the rows before hold lists of ${this.#length} numbers`,
      );
    }
    if (listText.test(textIn(cell))) {
      throw this.#error(
        row,
        `holds a list that was written as text, ${textIn(cell).slice(0, 20)} …: save such a column as JSON Lines or Parquet (datasets and pandas: to_json with lines, to_parquet)`,
      );
    }
    if (losesDigits(cell)) throw this.#error(row, tooLarge(textIn(cell)));
    const isTruth = truthIn(cell) !== undefined;
    const number = numberIn(cell);
    if (isTruth || number === undefined) {
      this.#isText = true;
      if (isTruth) this.#truths += 1;
      else this.#textCount += 1;
      this.#firstText ??= { row, text: textIn(cell) };
    } else {
      if (!Number.isFinite(number)) throw this.#error(row, `holds ${number}; remove or replace such values`);
      this.#numbers += 1;
      if (number !== 0 && number !== 1) this.#isTruth = false;
    }
    if (this.#texts.size <= mostCategories) this.#texts.add(textIn(cell));
  }

  result(): SurveyedColumn {
    const isList = this.#length !== undefined;
    // A few texts among many numbers are no categories.
    if (this.#firstText && this.#texts.size > 10 && this.#textCount + this.#truths < this.#numbers / 10) {
      const { row, text } = this.#firstText;
      throw this.#error(
        row,
        `holds ${JSON.stringify(text)} among numbers: replace it, clear it and say --missing, or choose other columns with --columns`,
      );
    }
    if (this.#isText && this.#texts.size > mostCategories) {
      const { row, text } = this.#firstText ?? { row: 0, text: "" };
      const mixed =
        this.#numbers > 0 ? ` (${placeOf(this.#source, row)} holds "${text}", others numbers)` : "";
      throw new DataError(
        `${this.#source.name}: column "${this.#name}" holds more than ${mostCategories} different texts${mixed}; choose other columns with --columns`,
      );
    }
    const isMixed = this.#truths > 0 && this.#numbers > 0 && this.#isTruth && this.#textCount === 0;
    if (isMixed) this.#isText = false;
    return {
      ...{ name: this.#name, at: this.at, missing: this.#missing, gaps: this.#gaps },
      kind: isList ? "list" : this.#isText ? "category" : "number",
      yesOrNo: this.#truths > 0 && this.#numbers === 0 && this.#textCount === 0,
      ...{ length: this.#length ?? 1, other: this.#other, firstMissing: this.#firstMissing },
      categories: this.#isText ? [...this.#texts].sort() : [],
    };
  }

  #error(row: number, what: string): DataError {
    return new DataError(
      `${this.#source.name}: ${placeOf(this.#source, row)}, column "${this.#name}" ${what}`,
    );
  }
}
