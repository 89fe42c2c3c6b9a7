import { DataError } from "../../errors.ts";
import { type Cell, isMissing, numberIn, placeOf, type TableSource } from "./table-source.ts";

/**
 * A table whose columns of labels are one column of lists: `--label rain,wind,snow` for a model that answers several at once.
 * A row that lacks one of them has no label.
 * @param label - the name of one column, or of several with commas
 */
export function withJoinedLabels(source: TableSource, label: string | undefined): TableSource {
  if (label === undefined || source.columns.includes(label)) return source;
  const places = label.split(",").map((name) => source.columns.indexOf(name.trim()));
  if (places.length < 2 || places.includes(-1)) return source;
  const others = source.columns.flatMap((_, place) => (places.includes(place) ? [] : [place]));
  const joined = (cells: readonly Cell[], row: number): Cell =>
    places.some((place) => isMissing(cells[place]))
      ? null
      : places.map((place) => {
          const number = numberIn(cells[place]);
          if (number !== undefined) return number;
          throw new DataError(
            `${source.name}: ${placeOf(source, row)}, column "${source.columns[place]}" holds ${JSON.stringify(cells[place])} where a number is expected: several columns of labels hold numbers, or true and false`,
          );
        });
  return {
    ...source,
    columns: [...others.map((place) => source.columns[place] as string), label],
    classNames: new Map([
      ...(source.classNames ?? []),
      [label, places.map((place) => source.columns[place] as string)],
    ]),
    async *rows(only) {
      let row = 0;
      const needed = only?.flatMap((name) =>
        name === label ? places.map((place) => source.columns[place] as string) : [name],
      );
      for await (const chunk of source.rows(needed)) {
        yield chunk.map((cells) => [...others.map((place) => cells[place] ?? null), joined(cells, row++)]);
      }
    },
  };
}
