import { open } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { type Info, parse } from "csv-parse";
import { DataError, FileError, messageOf, SorthError } from "../../errors.ts";
import { ordinary } from "../../onnx/read-file.ts";
import { reasonOf } from "../../onnx/write-file.ts";
import { encodingOf, textOf } from "../text-file-node.ts";
import { inChunks, RowLines, type TableSource } from "./table-source.ts";

/**
 * A table of separated values, with the names of its columns in the first line. The separator is the tab in `.tsv` files, the
 * one that Excel's first line `sep=;` names, otherwise the one of comma, semicolon, tab and vertical bar that the first line has
 * most of.
 * @throws SorthError for a file that cannot be read, or has no header
 */
export async function csvTable(path: string): Promise<TableSource> {
  const head = await firstLine(path);
  const said = /^\uFEFF?"?sep=(.)"?$/i.exec(head)?.[1];
  const separator = said ?? (/\.tsv$/i.test(path) ? "\t" : separatorIn(head));
  const first = said === undefined ? 1 : 2;
  const columns = await columnsOf(path, separator, first);
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
    ...{ name: path, columns: header, counts: { what: "line", first: first + 1 }, lines },
    rows: () => inChunks(records(path, separator, first + 1, columns.length, lines)),
  };
}

async function* records(
  path: string,
  separator: string,
  from: number,
  width?: number,
  lines?: RowLines,
): AsyncGenerator<string[]> {
  const stream = Readable.from(textOf(path));
  const how = { skip_empty_lines: true, relax_column_count: true, info: true };
  const parser = parse({ ...how, delimiter: separator, from });
  let count = 0;
  // An error in reading ends the loop below.
  pipeline(stream, parser, () => {});
  try {
    for await (const { record: row, info } of parser as AsyncIterable<{ record: string[]; info: Info }>) {
      if (width !== undefined && row.length !== width) {
        throw new DataError(
          `${path}: line ${info.lines} has ${row.length} ${row.length === 1 ? "cell" : "cells"}, and the first line names ${width} columns: a cell that holds ${named(separator)} must stand in quotes, and every line must have all cells`,
        );
      }
      lines?.note(count++, info.lines);
      yield separator === "," ? row : row.map((cell) => withDecimalPoint(cell, separator));
    }
  } catch (error) {
    throw error instanceof SorthError
      ? error
      : new DataError(`${path}: ${quoteText(error) ?? messageOf(error)}`);
  } finally {
    stream.destroy();
  }
}

/** A separator in words. */
const named = (separator: string): string => (separator === "\t" ? "a tab" : `"${separator}"`);

/** What is wrong with the quotes of a file, in words; undefined for another error of the parser. */
function quoteText(error: unknown): string | undefined {
  const { code, lines }: { code?: unknown; lines?: unknown } = Object(error);
  if (typeof code !== "string" || !/QUOTE/.test(code)) return undefined;
  const where = typeof lines === "number" ? `line ${lines}` : "the file";
  return code === "CSV_QUOTE_NOT_CLOSED"
    ? `a quote is not closed: it begins before the end of the file, at ${where} or earlier`
    : `${where} has a quote inside a cell: put the whole cell in quotes, and write each quote in it twice ("")`;
}

/**
 * A number with a decimal comma, as it stands where the comma does not separate. Only the semicolon says that commas are decimal: behind
 * tabs and bars, 1,234 may be a thousand and more, and stays a text.
 */
function withDecimalPoint(cell: string, separator: string): string {
  if (separator !== ";" && /^\s*[-+]?[1-9]\d{0,2},\d{3}\s*$/.test(cell)) return cell;
  return /^\s*[-+]?\d*,\d+(e[-+]?\d+)?\s*$/i.test(cell) ? cell.replace(",", ".") : cell;
}

async function columnsOf(path: string, separator: string, first: number): Promise<string[]> {
  for await (const row of records(path, separator, first)) return row;
  throw new DataError(`${path}: the file is empty; its first line must name the columns`);
}

/** The first line, or as much of it as tells the separator. */
async function firstLine(path: string): Promise<string> {
  try {
    const file = await open(await ordinary(path));
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(65_536), 0, 65_536, 0);
      const bytes = buffer.subarray(0, bytesRead);
      return new TextDecoder(encodingOf(bytes)).decode(bytes).split(/\r?\n/)[0] ?? "";
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
  return [",", ";", "\t", "|"].reduce((best, one) => (count(one) > count(best) ? one : best));
}
