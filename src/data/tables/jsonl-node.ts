import { DataError, messageOf } from "../../errors.ts";
import { ownIn } from "../../lookup.ts";
import { linesOf } from "../text-file-node.ts";
import { type Cell, inChunks, numbersOf, RowLines, type TableSource } from "./table-source.ts";

/**
 * A table of one JSON object per line. The first one names the columns; a key that a later one lacks is a missing value.
 * @throws SorthError for a file that cannot be read, and for lines that are no objects of numbers, texts and lists of numbers
 */
export async function jsonlTable(path: string): Promise<TableSource> {
  let columns: readonly string[] | undefined;
  for await (const { object } of objectsIn(path)) {
    columns = Object.keys(object);
    break;
  }
  if (!columns) throw new DataError(`${path}: the file is empty; give one JSON object per line`);
  const names = columns;
  const lines = new RowLines();
  return {
    ...{ name: path, columns: names, counts: { what: "line", first: 1 }, lines },
    rows: (only = names) => inChunks(rowsIn(path, names, only, lines)),
  };
}

async function* rowsIn(
  path: string,
  names: readonly string[],
  only: readonly string[],
  lines: RowLines,
): AsyncGenerator<Cell[]> {
  let row = 0;
  for await (const { object, line } of objectsIn(path)) {
    const other = Object.keys(object).find((key) => !names.includes(key));
    if (other !== undefined) {
      throw new DataError(
        `${path}: line ${line} has the key "${other}", which the first line lacks; give every key in the first line, with null where there is no value`,
      );
    }
    lines.note(row++, line);
    yield names.map((key) => (only.includes(key) ? cellOf(ownIn(object, key), path, line, key) : null));
  }
}

async function* objectsIn(path: string) {
  let line = 0;
  for await (const text of linesOf(path)) {
    line += 1;
    if (text.trim() === "") continue;
    let object: unknown;
    try {
      object = JSON.parse(text);
    } catch (error) {
      const isPython = /(?<=[:,[\s])(NaN|-?Infinity)(?=\s*[,}\]])/.test(text);
      const help = isPython ? ": Python writes NaN and Infinity, which JSON lacks: write null" : "";
      throw new DataError(`${path}: line ${line} is no JSON (${messageOf(error)})${help}`);
    }
    if (typeof object !== "object" || object === null || Array.isArray(object)) {
      throw new DataError(`${path}: line ${line} holds no object; give one JSON object per line`);
    }
    yield { object: withDigits(object as Record<string, unknown>, text), line };
  }
}

/**
 * The object with the original digits, as texts, of whole numbers that are too large to be exact: a column that is used with such a number gives an
 * error.
 */
function withDigits(object: Record<string, unknown>, text: string): Record<string, unknown> {
  const isLarge = (value: unknown) => Number.isInteger(value) && !Number.isSafeInteger(value);
  const large = Object.entries(object).filter(([, value]) => isLarge(value));
  const written = [...text.matchAll(/[\s:](-?\d{16,})\s*(?=[,}])/g)].map(([, digits = ""]) => digits);
  const lost = large.flatMap(([key, value]) => {
    const digits = written.find((one) => Number(one) === value);
    return digits === undefined ? [] : [[key, digits] as const];
  });
  return { ...object, ...Object.fromEntries(lost) };
}

function cellOf(value: unknown, path: string, line: number, key: string): Cell {
  if (value === undefined || value === null) return null;
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (Array.isArray(value)) {
    const numbers = numbersOf(value);
    if (numbers) return numbers;
  }
  throw new DataError(
    `${path}: line ${line}, "${key}" holds ${JSON.stringify(value).slice(0, 40)}; a value must be a number, a text, true, false, null or a list of numbers (lists in it are of one length)`,
  );
}
