import { basename } from "node:path";
import { DataError } from "../../errors.ts";
import { placeOf, type TableSource } from "./table-source.ts";

/**
 * The rows of several files, one file after the other, as one table.
 * @param name - of all together, for messages
 * @throws DataError for a file with other columns than the first
 */
export function joinedFiles(name: string, sources: readonly TableSource[]): TableSource {
  const [first] = sources;
  if (!first) throw new DataError(`${name}: there are no files`);
  for (const source of sources) checkColumns(first, source);
  // Known where messages need them: rows are read in order.
  const starts: number[] = [];
  return {
    ...{ name, columns: first.columns, counts: first.counts },
    classNames: new Map(sources.flatMap(({ classNames = [] }) => [...classNames])),
    place: (row) => {
      const at = starts.findLastIndex((start) => start <= row);
      const [source, start] = [sources[at] ?? first, starts[at] ?? 0];
      return `row ${row + 1} (${basename(source.name)}, ${placeOf(source, row - start)})`;
    },
    async *rows(only) {
      let rows = 0;
      for (const [i, source] of sources.entries()) {
        starts[i] = rows;
        const places = first.columns.map((column) => source.columns.indexOf(column));
        for await (const chunk of source.rows(only)) {
          rows += chunk.length;
          yield chunk.map((cells) => places.map((place) => cells[place] ?? null));
        }
      }
    },
  };
}

function checkColumns(first: TableSource, other: TableSource): void {
  const absent = first.columns.find((column) => !other.columns.includes(column));
  const added = other.columns.find((column) => !first.columns.includes(column));
  if (absent === undefined && added === undefined) return;
  const [column, holder, lacks] = absent === undefined ? [added, other, first] : [absent, first, other];
  throw new DataError(
    `${lacks.name}: there is no column "${column}", which ${basename(holder.name)} has: files of one table have the same columns`,
  );
}
