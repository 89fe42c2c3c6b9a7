import { DataError } from "../../errors.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { arrayColumn, labelled, type SourceArray } from "../array-dataset.ts";
import { type Column, type Dataset, datasetOfColumns } from "../dataset.ts";
import {
  type ColumnConversion,
  type Missing,
  type TableConversion,
  type TableInput,
  type TableLabel,
  widthOf,
} from "./conversion.ts";
import { isOfTokens, listIn, listWords, uncounted } from "./padding.ts";
import {
  type Cell,
  indexOfTexts,
  isMissing,
  numberIn,
  placeOf,
  type TableSource,
  textIn,
} from "./table-source.ts";

/** Options of {@link convertTable} for a table that training begins with. */
interface TableStatistics {
  readonly missing?: Missing | undefined;
  readonly standardize?: boolean | undefined;
  /** Inputs of whole numbers (tokens, indices, bytes) or of true and false: they are not standardized, and a mean for them is rounded. */
  readonly wholeInputs: ReadonlySet<string>;
  /** Chooses the rows from which means are computed, given the number of samples; default: all. */
  readonly trainingRows?: ((size: number) => ArrayLike<number>) | undefined;
}

/** A table as a dataset, and how it was converted. */
interface ConvertedTable {
  readonly dataset: Dataset;
  readonly conversion: TableConversion;
  /** Rows left out because they lack a value. */
  readonly dropped: number;
}

/**
 * Reads the rows of a table into arrays.
 * @param rows - number of rows in the file
 * @param statistics - fills in what the conversion leaves open; absent where it is complete
 * @throws SorthError for a text that is none of a column's categories, and for anything but a number in other columns
 */
export async function convertTable(
  source: TableSource,
  rows: number,
  conversion: TableConversion,
  statistics?: TableStatistics,
): Promise<ConvertedTable> {
  const inputs = conversion.inputs.map((input) => new InputRows(source, input, rows));
  const label = conversion.label && new LabelRows(source, conversion.label, rows);
  const targets = (conversion.targets ?? []).map((target) => new LabelRows(source, target, rows));
  let [row, size] = [0, 0];
  const kept = conversion.dropsMissing ? new Uint32Array(rows) : undefined;
  const labels = [...(label ? [conversion.label] : []), ...(conversion.targets ?? [])];
  const needed = [...conversion.inputs.flatMap(({ columns }) => columns), ...labels].map((one) => one.name);
  for await (const chunk of source.rows(needed)) {
    for (const cells of chunk) {
      const parts = [...inputs, ...(label ? [label] : []), ...targets];
      const drops = conversion.dropsMissing && parts.some((part) => part.lacks(cells));
      if (!drops) {
        for (const part of parts) part.write(cells, size, row);
        if (kept) kept[size] = row;
        size += 1;
      }
      row += 1;
    }
  }
  if (size === 0) throw new DataError(`${source.name}: no row has all values; use --missing mean or zero`);
  const chosen = statistics?.trainingRows?.(size) ?? Array.from({ length: size }, (_, i) => i);
  const complete = {
    ...conversion,
    inputs: inputs.map((input) => (statistics ? input.completed(statistics, chosen) : input.input)),
  };
  for (const [i, input] of complete.inputs.entries()) inputs[i]?.apply(input, size);
  const columns = [...inputs, ...targets].map((part) => part.column(size));
  const whole = datasetOfColumns(source.name, size, columns, label?.column(size));
  const dataset: Dataset = kept && size < row ? { ...whole, sampleRow: (i) => kept[i] ?? -1 } : whole;
  return { dataset, conversion: complete, dropped: rows - size };
}

/** The numbers of one input. */
class InputRows {
  readonly input: TableInput;
  readonly #source: TableSource;
  readonly #width: number;
  readonly #data: Float64Array;
  readonly #at: readonly number[];
  /** The first number of each column in a row. */
  readonly #from: readonly number[];
  readonly #indexOf: readonly ReadonlyMap<string, number>[];

  constructor(source: TableSource, input: TableInput, rows: number) {
    this.input = input;
    this.#source = source;
    this.#width = elementCount(input.shape);
    this.#data = new Float64Array(rows * this.#width);
    this.#at = input.columns.map(({ name }) => placeIn(source, name));
    let from = 0;
    this.#from = input.columns.map((column) => {
      from += widthOf(column);
      return from - widthOf(column);
    });
    this.#indexOf = input.columns.map((column) =>
      indexOfTexts(column.kind === "category" ? column.categories : []),
    );
  }

  lacks(cells: readonly Cell[]): boolean {
    return this.#at.some((at) => isMissing(cells[at]));
  }

  write(cells: readonly Cell[], sample: number, row: number): void {
    for (const [i, column] of this.input.columns.entries()) {
      const cell = cells[this.#at[i] as number] ?? null;
      const to = sample * this.#width + (this.#from[i] as number);
      if (column.kind === "list") {
        const list = listIn(cell, column);
        if (!list) throw mismatch(this.#source, row, column.name, cell, listWords(cell, column));
        if (column.counts) this.#data.fill(1, to, to + list.length);
        else this.#data.set(list, to);
      } else if (column.kind === "number") {
        const number = isMissing(cell) ? Number.NaN : numberIn(cell);
        if (number === undefined) throw mismatch(this.#source, row, column.name, cell, "a number");
        this.#data[to] = number;
      } else if (!isMissing(cell)) {
        const index = this.#indexOf[i]?.get(textIn(cell));
        if (index === undefined) {
          throw mismatch(this.#source, row, column.name, cell, `one of ${shortList(column.categories)}`);
        }
        if (column.asIndex) this.#data[to] = index;
        else this.#data[to + index] = 1;
      }
    }
  }

  /** The input with means for missing values and for standardization. */
  completed({ missing, wholeInputs, ...asked }: TableStatistics, rows: ArrayLike<number>): TableInput {
    const isWhole = wholeInputs.has(this.input.name);
    const standardize = asked.standardize === true && !isWhole;
    const columns = this.input.columns.map((column, i): ColumnConversion => {
      const from = this.#from[i] as number;
      if (column.kind === "category") return column;
      if (column.kind === "list") {
        const fills = (missing === "mean" || missing === "zero") && !isOfTokens(column.name);
        if (!standardize && !fills) return column;
        const places = Array.from({ length: column.length }, (_, place) => this.#moments(rows, from + place));
        const means = places.map(({ mean }) => mean);
        const whole = isWhole ? means.map(Math.round) : means;
        return {
          ...column,
          ...(fills && { missing: missing === "mean" ? whole : means.map(() => 0) }),
          ...(standardize && { mean: means, std: places.map(({ std }) => std) }),
        };
      }
      const { mean, std } = this.#moments(rows, from);
      return {
        ...column,
        ...(missing === "mean" && { missing: isWhole ? Math.round(mean) : mean }),
        ...(missing === "zero" && { missing: 0 }),
        ...(standardize && { mean, std }),
      };
    });
    return { ...this.input, columns };
  }

  #moments(rows: ArrayLike<number>, from: number): { mean: number; std: number } {
    let [sum, count, squares] = [0, 0, 0];
    const each = (visit: (value: number) => void) => {
      for (let i = 0; i < rows.length; i++) {
        const value = this.#data[(rows[i] as number) * this.#width + from] as number;
        if (!Number.isNaN(value)) visit(value);
      }
    };
    each((value) => {
      sum += value;
      count += 1;
    });
    const mean = count > 0 ? sum / count : 0;
    each((value) => {
      squares += (value - mean) ** 2;
    });
    const std = Math.sqrt(squares / Math.max(count, 1));
    // Equal numbers differ from their mean by its rounding, which is no deviation to divide by.
    return { mean, std: std > count * Number.EPSILON * Math.abs(mean) ? std : 1 };
  }

  /** Fills in missing values and standardizes. @throws SorthError for a missing value that the conversion does not know */
  apply(input: TableInput, size: number): void {
    for (const [i, column] of input.columns.entries()) {
      if (column.kind === "category") continue;
      const [means, stds] = [[column.mean ?? []].flat(), [column.std ?? []].flat()];
      const fills = [column.missing ?? []].flat();
      for (let sample = 0; sample < size; sample++) {
        for (let place = 0; place < widthOf(column); place++) {
          const at = sample * this.#width + (this.#from[i] as number) + place;
          const value = this.#data[at] as number;
          const known = Number.isNaN(value) ? fills[place] : value;
          if (known === undefined) {
            throw new DataError(
              `${this.#source.name}: ${placeOf(this.#source, sample)}, column "${column.name}" has no value${column.kind === "list" ? ` at place ${place + 1} of its list` : ""}, and the model was trained on data that had all: use --missing drop`,
            );
          }
          this.#data[at] = (known - (means[place] ?? 0)) / (stds[place] ?? 1);
        }
      }
    }
  }

  column(size: number): Column {
    const { name, shape, columns } = this.input;
    const values = this.#data.subarray(0, size * this.#width);
    const data = compact(
      values,
      columns.some((column) => column.kind !== "category" && column.mean !== undefined),
    );
    const { dtype: _, ...column } = arrayColumn(this.#source.name, name, size, { data, shape });
    // Small integers are pixels only where they form an image.
    return { ...column, bytes: data instanceof Uint8Array && shape.length > 1 };
  }
}

/** The labels. */
export class LabelRows {
  readonly #source: TableSource;
  readonly #name: string;
  readonly #data: Float64Array;
  readonly #at: number;
  readonly #classes: readonly string[] | undefined;
  readonly #indexOf: ReadonlyMap<string, number>;
  /** Numbers of each row; undefined for one that is no list. */
  readonly #length: number | undefined;
  readonly #padded: TableLabel["padded"];
  readonly #names: readonly string[] | undefined;
  /** The place of the tokens that padded labels belong to. */
  readonly #tokensAt: number;

  constructor(source: TableSource, { name, classes, length, padded, names }: TableLabel, rows: number) {
    this.#source = source;
    this.#name = name;
    this.#length = length;
    this.#padded = padded;
    this.#names = names ?? classes;
    this.#tokensAt = source.columns.indexOf("input_ids");
    this.#data = new Float64Array(rows * (length ?? 1));
    this.#at = placeIn(source, name);
    this.#classes = classes;
    this.#indexOf = indexOfTexts(classes ?? []);
  }

  lacks(cells: readonly Cell[]): boolean {
    return isMissing(cells[this.#at]);
  }

  write(cells: readonly Cell[], sample: number, row: number): void {
    const cell = cells[this.#at] ?? null;
    if (this.#length !== undefined) {
      const form = { length: this.#length, ...(this.#padded && { padded: this.#padded }) };
      const list = isMissing(cell) ? undefined : listIn(cell, form);
      if (!list) throw mismatch(this.#source, row, this.#name, cell, listWords(cell, form));
      const tokens = this.#padded && cells[this.#tokensAt];
      if (Array.isArray(tokens) && Array.isArray(cell) && tokens.length !== cell.length) {
        const expected = `a label for each of its ${tokens.length} tokens`;
        throw mismatch(this.#source, row, this.#name, cell, expected);
      }
      const at = sample * this.#length;
      this.#data.set(list, at);
      this.#data.fill(uncounted, at + list.length, at + this.#length);
      return;
    }
    const number = this.#classes ? this.#indexOf.get(textIn(cell)) : numberIn(cell);
    if (number === undefined || isMissing(cell)) {
      const expected = this.#classes ? `one of ${shortList(this.#classes)}` : "a number";
      throw mismatch(this.#source, row, this.#name, cell, expected);
    }
    this.#data[sample] = number;
  }

  column(size: number): Column {
    const data = compact(this.#data.subarray(0, size * (this.#length ?? 1)), false);
    const shape = this.#length === undefined ? [] : [this.#length];
    const column = labelled(arrayColumn(this.#source.name, this.#name, size, { data, shape }));
    return this.#names && this.#length === undefined ? { ...column, classes: this.#names.length } : column;
  }
}

/** The numbers as bytes or 32-bit integers if they all are; else as 32-bit floats. */
function compact(values: Float64Array, isFloat: boolean): SourceArray {
  if (isFloat || !values.every((value) => Number.isInteger(value) && Math.abs(value) < 2 ** 31)) {
    return Float32Array.from(values);
  }
  return values.every((value) => value >= 0 && value < 256)
    ? Uint8Array.from(values)
    : Int32Array.from(values);
}

function placeIn({ name, columns }: TableSource, column: string): number {
  const at = columns.indexOf(column);
  if (at >= 0) return at;
  throw new DataError(
    `${name}: there is no column "${column}", which the model was trained on; the table has ${columns.join(", ")}`,
  );
}

/** The first few texts for a message, without quotes, and how many there are. */
export function shortList(texts: readonly string[]): string {
  return texts.length > 8 ? `${texts.slice(0, 8).join(", ")} … (${texts.length})` : texts.join(", ");
}

const mismatch = (
  source: TableSource,
  row: number,
  column: string,
  cell: Cell,
  expected: string,
): DataError =>
  new DataError(
    `${source.name}: ${placeOf(source, row)}, column "${column}" holds ${cell === null ? "no value" : JSON.stringify(cell)} where ${expected} is expected`,
  );
