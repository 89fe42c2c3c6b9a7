import { UsageError } from "../../errors.ts";
import { isLabelName } from "../match.ts";
import type { DataOptions } from "../options.ts";
import type { TableSource } from "../tables/table-source.ts";
import type { TextConversion } from "./conversion.ts";

/** The part of a conversion that the columns of a table decide. */
type Chosen = Pick<TextConversion, "samples" | "column" | "columns" | "apart" | "label">;

/** Columns of texts as the datasets of sentence-transformers name them, in order. */
const besideEachOther = ["anchor", "positive", "negative"];

/** Columns of two texts that make one sample, as common datasets name them. */
const pairs = [
  ["sentence1", "sentence2"],
  ["sentence_A", "sentence_B"],
  ["premise", "hypothesis"],
  ["question1", "question2"],
  ["text1", "text2"],
  ["query", "passage"],
  ["question", "answer"],
] as const;

/** The columns of the texts of a sample. */
export const columnsOf = ({
  column,
  columns,
}: Pick<TextConversion, "column" | "columns">): readonly string[] =>
  columns ?? (column === undefined ? [] : [column]);

/** The columns that the flag names: one, or several with commas. @throws UsageError for one that is not there */
export function textColumns(
  { name, columns }: TableSource,
  text: string,
): Pick<Chosen, "column" | "columns"> {
  const names = columns.includes(text) ? [text] : text.split(",").map((one) => one.trim());
  const unknown = names.find((one) => !columns.includes(one));
  if (unknown !== undefined) {
    throw new UsageError(`${name}: there is no column "${unknown}" (--text); it has ${columns.join(", ")}`);
  }
  return named(names);
}

/** The column of the labels that the flag names. @throws UsageError for one that is not there */
export function labelNamed({ name, columns }: TableSource, label: string): string {
  if (columns.includes(label)) return label;
  throw new UsageError(`${name}: there is no column "${label}" (--label); it has ${columns.join(", ")}`);
}

const named = (names: readonly string[]): Pick<Chosen, "column" | "columns"> =>
  names.length === 1 && names[0] !== undefined ? { column: names[0] } : { columns: names };

/** Chooses the columns of texts and labels of a table, as the options say or by their names. */
export function chosenColumns(source: TableSource, options: DataOptions): Chosen {
  const { name, columns } = source;
  const { label, text, languageModel } = options;
  const areNamed = columns.filter((column) => besideEachOther.includes(column)).length > 1;
  const apart = options.apart ?? (areNamed && text === undefined && !languageModel);
  if (label !== undefined) labelNamed(source, label);
  const given = text === undefined ? undefined : textColumns(source, text);
  const isLabel = (column: string) =>
    isLabelName(column) || (apart && /^(scores?|similarity)$/i.test(column));
  const usual = columns.filter((column) => isLabel(column) && !columnsOf(given ?? {}).includes(column));
  if (label === undefined && !languageModel && usual.length > 1) {
    throw new UsageError(
      `${name}: which of the columns ${usual.join(" and ")} is the label? Say it with --label`,
    );
  }
  const target = label ?? usual[0];
  const others = columns.filter((column) => column !== target);
  const chosen = given ?? usualColumns(others, { languageModel, apart });
  if (chosen === undefined) {
    const several = languageModel ? "" : ", several with commas";
    throw new UsageError(
      `${name}: which of the columns ${others.join(", ")} holds the texts? Say it with --text${several}`,
    );
  }
  const { length } = columnsOf(chosen);
  const ofLabel = target === undefined ? {} : { label: { name: target } };
  if (apart && length > 1) return { samples: "rows", ...chosen, apart: true, ...ofLabel };
  if (length > 2 || (length > 1 && languageModel)) {
    const most = languageModel
      ? "a language model reads one column of texts"
      : "a sample is one text or a pair of two";
    throw new UsageError(`${name}: --text ${text} names ${length} columns, and ${most}`);
  }
  if (languageModel || (target === undefined && length === 1)) return { samples: "blocks", ...chosen };
  return { samples: "rows", ...chosen, ...ofLabel };
}

function usualColumns(
  others: readonly string[],
  { languageModel, apart }: Pick<DataOptions, "languageModel" | "apart">,
): Pick<Chosen, "column" | "columns"> | undefined {
  const isThere = (column: string) => others.includes(column);
  if (apart) {
    const more = others.filter((column) => /^negative_\d+$/.test(column));
    const known = [...besideEachOther.filter(isThere), ...more];
    if (known.length > 1) return named(known);
  }
  const pair = languageModel ? undefined : pairs.find((columns) => columns.every(isThere));
  if (pair) return named(pair);
  if (isThere("text")) return named(["text"]);
  return others.length === 1 || (apart && others.length > 1) ? named(others) : undefined;
}
