import {
  type AsyncBuffer,
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type RowGroup,
} from "hyparquet";
import { DataError, FileError, messageOf } from "../../errors.ts";
import { ordinary } from "../../onnx/read-file.ts";
import { reasonOf } from "../../onnx/write-file.ts";
import { checkPages } from "./check-pages-node.ts";
import { checkThrift } from "./check-thrift-node.ts";
import { pageDecompressors } from "./decompress-node.ts";
import { type Cell, numbersOf, placeOf, type TableSource, tooLarge } from "./table-source.ts";

/** A table of Apache Parquet. Its row groups are read one after another. @throws SorthError for a file that cannot be read */
export async function parquetTable(path: string): Promise<TableSource> {
  const opened = await openedParquet(path);
  const { metadata, columns } = opened;
  return {
    ...{ name: path, columns, counts: parquetCounts, classNames: recordedClasses(metadata) },
    async *rows(only) {
      let first = 0;
      const needed = only && { columns: columns.filter((column) => only.includes(column)) };
      for (const group of metadata.row_groups) {
        const rowEnd = first + Number(group.num_rows);
        const objects = await parquetRows(opened, path, { rowStart: first, rowEnd, ...needed });
        yield objects.map((object, i) =>
          columns.map((column) => cellOf(object[column], path, first + i, column)),
        );
        first = rowEnd;
      }
    },
  };
}

/** How rows of a Parquet file are counted beside their number. */
const parquetCounts = { what: "index", first: 0 } as const;

/** The place of a row of a Parquet file, for messages. */
export const parquetRow = (path: string, row: number): string =>
  `${path}: ${placeOf({ counts: parquetCounts }, row)}`;

/** The names of classes that Hugging Face's datasets record, by column (`ClassLabel`, or lists of them). */
export function recordedClasses({ key_value_metadata }: FileMetaData): Map<string, readonly string[]> {
  const record = key_value_metadata?.find(({ key }) => key === "huggingface")?.value;
  const found = new Map<string, readonly string[]>();
  try {
    const { info } = JSON.parse(record ?? "{}") as { info?: { features?: Record<string, Feature> } };
    for (const [column, feature] of Object.entries(info?.features ?? {})) {
      const names = feature?.names ?? feature?.feature?.names;
      if (Array.isArray(names) && names.every((name) => typeof name === "string")) found.set(column, names);
    }
  } catch {
    // Another tool's record: the classes have no names.
  }
  return found;
}

type Feature = { readonly names?: unknown; readonly feature?: { readonly names?: unknown } } | null;

/** A Parquet file and its footer. */
export interface ParquetFile {
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
  /** Names of its columns. */
  readonly columns: readonly string[];
  /** Columns whose pages were checked, by row group. */
  readonly checked: Map<RowGroup, Set<string>>;
}

/** Opens a Parquet file. @throws SorthError for other files */
export async function openedParquet(path: string): Promise<ParquetFile> {
  try {
    const file = await asyncBufferFromFile(await ordinary(path));
    await checkFooter(file);
    const metadata = await parquetMetadataAsync(file);
    checkColumns(metadata);
    const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
    return { file, metadata, columns, checked: new Map() };
  } catch (error) {
    throw new FileError(`${path}: not a Parquet file, or a damaged one (${messageOf(error)})`);
  }
}

/** @throws Error for a footer whose lists are longer than the file */
async function checkFooter(file: AsyncBuffer): Promise<void> {
  const end = Math.max(0, file.byteLength - 8);
  const tail = new DataView(await file.slice(end, file.byteLength));
  // parquetMetadataAsync says what is wrong with a file that is shorter, or ends otherwise.
  const length = tail.byteLength === 8 ? tail.getUint32(0, true) : 0;
  if (length === 0 || length > end) return;
  checkThrift({ view: new DataView(await file.slice(end - length, end)), offset: 0 });
}

/** @throws Error for data of a column that the schema lacks: hyparquet would notice while other columns are being read, whose errors then end the process */
function checkColumns(metadata: FileMetaData): void {
  const schema = parquetSchema(metadata);
  for (const { columns } of metadata.row_groups) {
    for (const { meta_data } of columns) {
      let at: typeof schema | undefined = schema;
      for (const name of meta_data?.path_in_schema ?? []) {
        at = at?.children.find(({ element }) => element.name === name);
      }
      if (!at) throw new Error(`the schema has no column "${meta_data?.path_in_schema.join(".")}"`);
    }
  }
}

/**
 * Reads rows of a Parquet file.
 * @param range - the rows, the columns (default: all), and whether bytes are read as texts (default: yes)
 * @throws SorthError for pages that are damaged or in a form that the reader does not know
 */
export async function parquetRows(
  opened: ParquetFile,
  path: string,
  range: {
    readonly rowStart: number;
    readonly rowEnd: number;
    readonly columns?: string[];
    readonly utf8?: boolean;
  },
): Promise<Record<string, unknown>[]> {
  const { file, metadata } = opened;
  try {
    await checkGroups(opened, range);
    return await parquetReadObjects({ file, metadata, compressors: pageDecompressors, ...range });
  } catch (error) {
    throw new FileError(`${path}: cannot be read (${reasonOf(error)})`);
  }
}

/** Checks the pages of row groups in a range, unless this was done before. */
async function checkGroups(
  { file, metadata, checked }: ParquetFile,
  { rowStart, rowEnd, columns }: { rowStart: number; rowEnd: number; columns?: readonly string[] },
): Promise<void> {
  let first = 0;
  for (const group of metadata.row_groups) {
    const end = first + Number(group.num_rows);
    const known = checked.get(group) ?? new Set();
    checked.set(group, known);
    const names = group.columns.flatMap(({ meta_data }) => meta_data?.path_in_schema[0] ?? []);
    const open = names.filter((name) => !known.has(name) && (columns?.includes(name) ?? true));
    if (end > rowStart && first < rowEnd && open.length > 0) {
      await checkPages(file, metadata, group, open);
      for (const name of open) known.add(name);
    }
    first = end;
  }
}

function cellOf(value: unknown, path: string, row: number, column: string): Cell {
  if (value === undefined || value === null) return null;
  if (typeof value === "bigint") {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    throw new DataError(`${parquetRow(path, row)}, column "${column}" ${tooLarge(value)}`);
  }
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (value instanceof Date) return value.getTime() / 1000;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const numbers = numbersOf(value as ArrayLike<unknown>);
    if (numbers) return numbers;
  }
  throw new DataError(
    `${parquetRow(path, row)}, column "${column}" holds neither a number, a text nor a list of numbers (lists in lists are of one length); choose other columns with --columns`,
  );
}
