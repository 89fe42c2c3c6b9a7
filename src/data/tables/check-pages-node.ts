import type { AsyncBuffer, ColumnMetaData, FileMetaData, RowGroup } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { decompressPage } from "hyparquet/src/datapage.js";
import { readRleBitPackedHybrid } from "hyparquet/src/encoding.js";
import { getMaxDefinitionLevel, getMaxRepetitionLevel, getSchemaPath } from "hyparquet/src/schema.js";
import { readVarInt } from "hyparquet/src/thrift.js";
import { checkThrift, type Reader } from "./check-thrift-node.ts";
import { pageDecompressors } from "./decompress-node.ts";

/** More values than any writer puts into a page (pyarrow and Spark begin a new one after a megabyte or 20,000 rows). */
const mostValues = 2 ** 24;

type PageHeader = ReturnType<typeof parquetHeader>;

/**
 * Checks the run lengths in the pages of a row group. hyparquet follows a run as long as the file says, also beyond the
 * values that the page states, until V8 ends the process.
 * @param columns - names of the columns that will be read; all if absent
 * @throws Error for a page that is damaged
 */
export async function checkPages(
  file: AsyncBuffer,
  { schema }: FileMetaData,
  group: RowGroup,
  columns: readonly string[] | undefined,
): Promise<void> {
  for (const { meta_data: column } of group.columns) {
    const [name = ""] = column?.path_in_schema ?? [];
    if (!column || (columns && !columns.includes(name))) continue;
    const first = Number(column.dictionary_page_offset || column.data_page_offset);
    const bytes = await file.slice(first, first + Number(column.total_compressed_size));
    const path = getSchemaPath(schema, column.path_in_schema);
    const levels = { repetition: getMaxRepetitionLevel(path), definition: getMaxDefinitionLevel(path) };
    const reader: Reader = { view: new DataView(bytes), offset: 0 };
    // As hyparquet ends: a byte may be left.
    while (reader.offset < reader.view.byteLength - 1) {
      checkThrift({ ...reader });
      const header = parquetHeader(reader);
      checkSizes(header);
      const page = new Uint8Array(bytes, reader.offset, header.compressed_page_size);
      reader.offset += header.compressed_page_size;
      checkPage(page, header, column, levels);
    }
  }
}

/** @throws Error for a header without its sizes, behind which hyparquet would look for the next page without end */
function checkSizes(header: PageHeader): void {
  const { data_page_header: v1, data_page_header_v2: v2, dictionary_page_header: dictionary } = header;
  const stated = (v1 ?? v2 ?? dictionary)?.num_values ?? 0;
  if (!(stated >= 0 && stated <= mostValues)) throw new Error(`a page states ${stated} values`);
  const sizes = [
    ...[stated, header.compressed_page_size, header.uncompressed_page_size],
    ...(v2
      ? [v2.definition_levels_byte_length, v2.repetition_levels_byte_length, stated - v2.num_nulls]
      : []),
  ];
  if (!sizes.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new Error("the header of a page lacks a size, or has a wrong one");
  }
}

/** The largest levels of a column, by its place in the schema; 0 for a level that its pages do not hold. */
interface Levels {
  readonly repetition: number;
  readonly definition: number;
}

function checkPage(page: Uint8Array, header: PageHeader, column: ColumnMetaData, levels: Levels): void {
  const { data_page_header: v1, data_page_header_v2: v2 } = header;
  const stated = (v1 ?? v2)?.num_values ?? 0;
  const decompressed = (part: Uint8Array, length: number) =>
    readerOf(decompressPage(part, length, column.codec, pageDecompressors));
  if (header.type === "DATA_PAGE" && v1) {
    const reader = decompressed(page, header.uncompressed_page_size);
    if (levels.repetition > 0) checkLevels(reader, levels.repetition, stated);
    const present = levels.definition > 0 ? checkLevels(reader, levels.definition, stated) : stated;
    checkValues(reader, v1.encoding, column, present);
  } else if (header.type === "DATA_PAGE_V2" && v2) {
    const { repetition_levels_byte_length: first, definition_levels_byte_length: second } = v2;
    if (levels.repetition > 0) checkRuns(readerOf(page), levels.repetition, stated);
    if (levels.definition > 0) checkRuns(readerOf(page.subarray(first)), levels.definition, stated);
    const length = header.uncompressed_page_size - first - second;
    const rest = page.subarray(first + second);
    const reader = v2.is_compressed !== false && length ? decompressed(rest, length) : readerOf(rest);
    checkValues(reader, v2.encoding, column, stated - v2.num_nulls);
  }
}

const readerOf = (bytes: Uint8Array): Reader => ({
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  offset: 0,
});

/** Checks levels that begin with their length in bytes, and goes behind them. @returns how many are the largest one */
function checkLevels(reader: Reader, largest: number, count: number): number {
  const { view, offset } = reader;
  checkRuns({ view, offset: offset + 4 }, largest, count);
  const found = new Array<number>(count);
  readRleBitPackedHybrid(reader, bitsFor(largest), found);
  return found.filter((level) => level === largest).length;
}

/** Checks the places in a dictionary, and truths, of which a page holds runs. */
function checkValues(reader: Reader, encoding: string, { type }: ColumnMetaData, count: number): void {
  if (encoding === "RLE" && type === "BOOLEAN") {
    reader.offset += 4;
    checkRuns(reader, 1, count);
  } else if (/RLE|DICTIONARY/.test(encoding) && count > 0) {
    const bits = type === "BOOLEAN" ? 1 : reader.view.getUint8(reader.offset++);
    if (bits > 32) throw new Error(`places in a dictionary of ${bits} bits`);
    checkRuns(reader, 2 ** bits - 1, count);
  }
}

/** Packed numbers that a writer may put behind the last one of a page: it fills up to a whole group of 64 times eight. */
const mostPadding = 512;

/**
 * Walks over runs of one number, and of packed ones in groups of eight, until there are `count` numbers: as hyparquet does, also
 * beyond the end of their part of the page.
 */
function checkRuns(reader: Reader, largest: number, count: number): void {
  const bits = bitsFor(largest);
  for (let seen = 0; seen < count && reader.offset < reader.view.byteLength; ) {
    const header = readVarInt(reader);
    const isPacked = (header & 1) === 1;
    const length = (header >>> 1) * (isPacked ? 8 : 1);
    if (length > count - seen + (isPacked ? mostPadding : 0)) {
      throw new Error(`a run of ${length} numbers in a page of ${count}`);
    }
    seen += length;
    // Of packed numbers hyparquet reads a byte even if there are none.
    reader.offset += isPacked ? Math.max(1, Math.ceil((bits * length) / 8)) : Math.ceil(bits / 8);
  }
}

const bitsFor = (largest: number): number => 32 - Math.clz32(largest);
