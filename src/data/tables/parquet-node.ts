import {
  type AsyncBuffer,
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { DataError, FileError, messageOf } from "../../errors.ts";
import { ordinary } from "../../onnx/read-file.ts";
import { reasonOf } from "../../onnx/write-file.ts";
import { type Cell, type TableSource, tooLarge } from "./table-source.ts";

/** A table of Apache Parquet. Its row groups are read one after another. @throws SorthError for a file that cannot be read */
export async function parquetTable(path: string): Promise<TableSource> {
  const opened = await openedParquet(path);
  const { metadata, columns } = opened;
  return {
    ...{ name: path, columns, counts: { what: "row", first: 0 } },
    async *rows() {
      let first = 0;
      for (const group of metadata.row_groups) {
        const rowEnd = first + Number(group.num_rows);
        const objects = await parquetRows(opened, path, { rowStart: first, rowEnd });
        yield objects.map((object, i) =>
          columns.map((column) => cellOf(object[column], path, first + i, column)),
        );
        first = rowEnd;
      }
    },
  };
}

/** A Parquet file and its footer. */
export interface ParquetFile {
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
  /** Names of its columns. */
  readonly columns: readonly string[];
}

/** Opens a Parquet file. @throws SorthError for other files */
export async function openedParquet(path: string): Promise<ParquetFile> {
  try {
    const file = await asyncBufferFromFile(await ordinary(path));
    const metadata = await parquetMetadataAsync(file);
    checkColumns(metadata);
    return { file, metadata, columns: parquetSchema(metadata).children.map(({ element }) => element.name) };
  } catch (error) {
    throw new FileError(`${path}: not a Parquet file, or a damaged one (${messageOf(error)})`);
  }
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
  { file, metadata }: ParquetFile,
  path: string,
  range: {
    readonly rowStart: number;
    readonly rowEnd: number;
    readonly columns?: string[];
    readonly utf8?: boolean;
  },
): Promise<Record<string, unknown>[]> {
  try {
    return await parquetReadObjects({ file, metadata, compressors, ...range });
  } catch (error) {
    throw new FileError(`${path}: cannot be read (${reasonOf(error)})`);
  }
}

function cellOf(value: unknown, path: string, row: number, column: string): Cell {
  if (value === undefined || value === null) return null;
  if (typeof value === "bigint") {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    throw new DataError(`${path}: row ${row}, column "${column}" ${tooLarge(value)}`);
  }
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (value instanceof Date) return value.getTime() / 1000;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const numbers = Array.from(value as ArrayLike<unknown>).flat(Number.POSITIVE_INFINITY);
    if (numbers.every((one) => typeof one === "number" || typeof one === "bigint"))
      return numbers.map(Number);
  }
  throw new DataError(
    `${path}: row ${row}, column "${column}" holds neither a number, a text nor a list of numbers; choose other columns with --columns`,
  );
}
