import { open } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { type Info, parse } from "csv-parse";
import { DataError, FileError, messageOf, SorthError } from "../../errors.ts";
import { ordinary } from "../../onnx/read-file.ts";
import { reasonOf } from "../../onnx/write-file.ts";
import { textOf } from "../text-file-node.ts";
import { inChunks, RowLines, type TableSource } from "./table-source.ts";

/**
 * A table of separated values, with the names of its columns in the first line. The separator is the tab in `.tsv` files,
 * otherwise the one of comma, semicolon and tab that the first line has most of.
 * @throws SorthError for a file that cannot be read, or has no header
 */
export async function csvTable(path: string): Promise<TableSource> {
  const head = await firstLine(path);
  const separator = /\.tsv$/i.test(path) ? "\t" : separatorIn(head);
  const columns = await columnsOf(path, separator);
  const header = columns.map((name) => name.trim());
  const numeric = header.filter((name) => name !== "" && Number.isFinite(Number(name)));
  // The label in a line of data may be a text.
  const isData =
    numeric.length === header.length ||
    (header.length > 2 &&
      numeric.length === header.length - 1 &&
      new Set(numeric).size > 1 &&
      numeric.some((name) => /[.-]/.test(name)));
  if (header.length > 0 && isData) {
    throw new DataError(
      `${path}: the first line holds numbers (${numeric.slice(0, 3).join(", ")} …), not the names of the columns; add a line with names`,
    );
  }
  // Not by indexOf: a table may have a million columns.
  const seen = new Set<string>();
  const twice = header.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined) throw new DataError(`${path}: two columns are called "${twice}"; rename one`);
  const lines = new RowLines();
  return {
    ...{ name: path, columns: header, counts: { what: "line", first: 2 }, lines },
    rows: () => inChunks(records(path, separator, 2, lines)),
  };
}

async function* records(
  path: string,
  separator: string,
  from: number,
  lines?: RowLines,
): AsyncGenerator<string[]> {
  const stream = Readable.from(textOf(path));
  const how = { skip_empty_lines: true, relax_column_count: false, info: true };
  const parser = parse({ ...how, delimiter: separator, from });
  let count = 0;
  // What fails in reading ends the loop below.
  pipeline(stream, parser, () => {});
  try {
    for await (const { record: row, info } of parser as AsyncIterable<{ record: string[]; info: Info }>) {
      lines?.note(count++, info.lines);
      // Semicolons separate where a comma is the decimal point.
      yield separator === ";" ? row.map(withDecimalPoint) : row;
    }
  } catch (error) {
    throw error instanceof SorthError ? error : new DataError(`${path}: ${messageOf(error)}`);
  } finally {
    stream.destroy();
  }
}

const withDecimalPoint = (cell: string): string =>
  /^\s*[-+]?\d*,\d+(e[-+]?\d+)?\s*$/i.test(cell) ? cell.replace(",", ".") : cell;

async function columnsOf(path: string, separator: string): Promise<string[]> {
  for await (const row of records(path, separator, 1)) return row;
  throw new DataError(`${path}: the file is empty; its first line must name the columns`);
}

/** The first line, or as much of it as tells the separator. */
async function firstLine(path: string): Promise<string> {
  try {
    const file = await open(await ordinary(path));
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(65_536), 0, 65_536, 0);
      return buffer.subarray(0, bytesRead).toString("utf8").split(/\r?\n/)[0] ?? "";
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new FileError(`${path}: cannot be read (${reasonOf(error)})`);
  }
}

function separatorIn(line: string): string {
  // Names in quotes may hold separators.
  const bare = line.replace(/"[^"]*"/g, "");
  const count = (separator: string) => bare.split(separator).length;
  return [",", ";", "\t"].reduce((best, one) => (count(one) > count(best) ? one : best));
}
