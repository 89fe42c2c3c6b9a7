import { extname } from "node:path";
import { UsageError } from "../../errors.ts";
import { csvTable } from "./csv-node.ts";
import { joinedFiles } from "./joined-files.ts";
import { withJoinedLabels } from "./joined-labels.ts";
import { jsonlTable } from "./jsonl-node.ts";
import type { TableSource } from "./table-source.ts";

const readers: Readonly<Record<string, (path: string) => Promise<TableSource>>> = {
  ".csv": csvTable,
  ".tsv": csvTable,
  ".jsonl": jsonlTable,
  ".ndjson": jsonlTable,
  // Its decoders are loaded for such a file only.
  ".parquet": async (path) => (await import("./parquet-node.ts")).parquetTable(path),
};

/** Whether a file is a table, by its name. */
export const isTable = (path: string): boolean => extname(path).toLowerCase() in readers;

/**
 * The rows of a table, by the names of its files.
 * @param name - of the table, for messages
 * @param label - the columns of its labels, joined if they are several
 */
export async function openTable(
  name: string,
  files: readonly string[],
  label?: string,
): Promise<TableSource> {
  const sources: TableSource[] = [];
  for (const path of files) {
    const reader = readers[extname(path).toLowerCase()];
    if (!reader) throw new UsageError(`${path}: not a table`);
    sources.push(await reader(path));
  }
  const [only, second] = sources;
  return withJoinedLabels(only && !second ? only : joinedFiles(name, sources), label);
}
