import { DataError, UsageError } from "../../errors.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { isLabelName } from "../match.ts";
import type { WantedInput } from "../model-inputs.ts";
import { classesNamed } from "../named-classes.ts";
import { isUsual } from "../token-columns.ts";
import type { ColumnConversion, Missing, TableConversion, TableInput, TableLabel } from "./conversion.ts";
import { widthOf } from "./conversion.ts";
import { isOfTokens, padded } from "./padding.ts";
import type { SurveyedColumn } from "./survey.ts";
import { placeOf, type TableSource } from "./table-source.ts";
import { writtenNumbers } from "./written-numbers.ts";

/** How a table is to be read. */
interface TableOptions {
  /** The column of the labels; default: the one with a usual name (y, label, target, …). */
  readonly label?: string | undefined;
  /** Further columns with labels or masks. */
  readonly targets?: readonly string[] | undefined;
  /** The columns to feed; default: all but the labels. */
  readonly columns?: readonly string[] | undefined;
  readonly missing?: Missing | undefined;
  readonly standardize?: boolean | undefined;
  /** Lists of tokens: how many a sample has; longer ones are cut. */
  readonly length?: number | undefined;
  /** The classes that the model names. */
  readonly classes?: readonly string[] | undefined;
  /** The model's inputs for data; default: one input `x`. */
  readonly inputs?: readonly WantedInput[] | undefined;
}

/** The column that a label names, or counts from 0; from −1 downwards from the last one, as in Python. */
export function numbered(label: string | undefined, columns: readonly string[]): string | undefined {
  if (label === undefined || columns.includes(label) || !/^-?\d+$/.test(label)) return label;
  return columns.at(Number(label)) ?? label;
}

/** Whether a column of Parquet is the index of a pandas DataFrame, which pandas does not read as a column either. */
const isPandasIndex = (name: string): boolean => /^__index_level_\d+__$/.test(name);

/** The names of the label column and of the columns to feed. @throws UsageError for names that the table lacks */
export function chosenColumns(
  source: TableSource,
  { label: given, columns, targets: named = [] }: TableOptions,
): {
  readonly label: string | undefined;
  readonly columns: readonly string[];
  readonly targets: readonly string[];
} {
  const { name, columns: all } = source;
  const check = (wanted: string, option: string) => {
    if (all.includes(wanted)) return;
    throw new UsageError(`${name}: there is no column "${wanted}" (${option}); it has ${all.join(", ")}`);
  };
  const label = numbered(given, all);
  if (label !== undefined) check(label, "--label");
  for (const one of columns ?? []) check(one, "--columns");
  if (label !== undefined && columns?.includes(label)) {
    throw new UsageError(`${name}: --columns feeds the label "${label}" to the model; leave it out`);
  }
  // A loss may also read an input of the model by name.
  const targets = named.filter((one) => all.includes(one) && one !== label && !columns?.includes(one));
  const usual = all.filter((one) => isLabelName(one) && !columns?.includes(one) && !targets.includes(one));
  if (label === undefined && usual.length > 1) {
    throw new UsageError(
      `${name}: which of the columns ${usual.join(" and ")} is the label? Say it with --label`,
    );
  }
  const target = label ?? usual[0];
  const fed = columns ?? all.filter((one) => one !== target && !targets.includes(one) && !isPandasIndex(one));
  return { label: target, columns: fed, targets };
}

/** How the columns of a table become inputs of a model; standardization and missing values are filled in later. */
export function planTable(
  source: TableSource,
  surveyed: readonly SurveyedColumn[],
  label: SurveyedColumn | undefined,
  options: TableOptions,
): TableConversion {
  const { missing, length, inputs = [{ name: "x", shape: [null] }] } = options;
  const targets = surveyed.filter(({ name }) => options.targets?.includes(name));
  const used = surveyed.filter((column) => column !== label && !targets.includes(column));
  for (const column of targets) checkMissing(source, column, column, missing);
  for (const column of [...used, ...(label ? [label] : [])]) checkMissing(source, column, label, missing);
  const own = inputs.filter(({ name }) => used.some((column) => column.name === name));
  const rest = used.filter(({ name }) => !own.some((input) => input.name === name));
  const isText = own.some(({ name }) => name === "input_ids");
  const free = inputs.filter((input) => !own.includes(input) && !(isText && isUsual(input.name)));
  if (free.length > 1 || (free.length === 1 && rest.length === 0)) {
    const names = free.map(({ name }) => `"${name}"`).join(", ");
    const ofTexts =
      free.some(({ name }) => name === "input_ids") && rest.some(({ kind }) => kind === "category");
    const help = ofTexts ? "texts need --tokenizer; columns of tokens are called as" : "name columns after";
    throw new DataError(
      `${source.name}: no column belongs to the model's inputs ${names}; the table has ${source.columns.join(", ")}: ${help} the inputs`,
    );
  }
  const [stacked] = free;
  const conversion: TableInput[] = own.map((input) => {
    const column = used.find(({ name }) => name === input.name) as SurveyedColumn;
    return fed(input, [columnFor(column, input)]);
  });
  if (stacked) {
    const columns = rest.map((column) => columnFor(column));
    conversion.push(fed(stacked, columns));
  }
  const plan: TableConversion = {
    inputs: conversion,
    ...(label && { label: labelFrom(label, source, options.classes) }),
    ...(targets.length > 0 && { targets: targets.map((one) => labelFrom(one, source)) }),
    ...(missing === "drop" && { dropsMissing: true as const }),
  };
  const whole = padded(source, plan, surveyed, { inputs, length });
  for (const input of whole.inputs) {
    checkWidth(source, input, input.name !== stacked?.name || label !== undefined);
  }
  return whole;
}

/**
 * A column of labels: classes for texts, a length for lists, and the names of classes that the file records.
 * @param named - the classes that the model names
 */
export function labelFrom(
  { name, kind, categories, length }: SurveyedColumn,
  { name: table, classNames }: Pick<TableSource, "name" | "classNames">,
  named?: readonly string[],
): TableLabel {
  const names = kind === "category" ? undefined : classNames?.get(name);
  return {
    name,
    ...(kind === "category" && { classes: classesNamed(`${table}: the label`, categories, named) }),
    ...(kind === "list" && { length }),
    ...(names && { names }),
  };
}

/** A column's conversion. A text with an input of its own is one-hot if the input has as many numbers as there are texts. */
function columnFor(
  { name, kind, categories, length, yesOrNo }: SurveyedColumn,
  own?: WantedInput,
): ColumnConversion {
  if (kind === "number" || yesOrNo) return { kind: "number", name };
  if (kind === "list") return { kind, name, length };
  const width = own?.shape.at(-1);
  const asIndex = own !== undefined && width !== null && width !== categories.length;
  return { kind, name, categories, ...(asIndex && { asIndex: true as const }) };
}

function fed(input: WantedInput, columns: readonly ColumnConversion[]): TableInput {
  const width = columns.reduce((sum, column) => sum + widthOf(column), 0);
  const { name, shape } = input;
  const fixed = shape.every((dim) => dim !== null) ? (shape as readonly number[]) : undefined;
  const single = columns.length === 1 && width === 1 && shape.length === 0;
  return { name, columns, shape: fixed ?? (single ? [] : [width]) };
}

/** @throws DataError for columns that give more or fewer numbers than the input takes */
function checkWidth(
  { name }: TableSource,
  { name: input, columns, shape }: TableInput,
  hasLabel: boolean,
): void {
  const width = columns.reduce((sum, column) => sum + widthOf(column), 0);
  if (elementCount(shape) === width) return;
  const index = columns.find((column) => column.name === "" || isPandasIndex(column.name));
  const advice = [
    ...(hasLabel ? [] : [", and the column of the labels with --label"]),
    ...(index
      ? [`; the column ${index.name || "without a name"} is an index of pandas (index=False leaves it out)`]
      : []),
  ].join("");
  const comma = columns.find(
    (column) => column.kind === "category" && column.categories.every((text) => /^[-+]?\d*,\d+$/.test(text)),
  );
  const decimals = comma
    ? `; column "${comma.name}" holds numbers with a decimal comma: write points, or separate the columns with semicolons`
    : "";
  const written = comma
    ? undefined
    : columns.flatMap((column) => {
        const found = column.kind === "category" ? writtenNumbers(column.categories) : undefined;
        return found
          ? [`; column "${column.name}" holds ${found.what} (${found.example}): write plain numbers`]
          : [];
      })[0];
  const parts = columns.map(
    (column) => `${column.name || '""'}${widthOf(column) > 1 ? ` (${widthOf(column)})` : ""}`,
  );
  throw new DataError(
    `${name}: the columns ${parts.join(", ")} give ${width} numbers per sample, but input "${input}" of the model takes ${elementCount(shape)}: choose columns with --columns${advice}${written ?? decimals}`,
  );
}

function checkMissing(
  source: TableSource,
  column: SurveyedColumn,
  label: SurveyedColumn | undefined,
  missing: Missing | undefined,
): void {
  if (column.missing === 0 || missing === "drop") return;
  const isLabel = column === label;
  // A number of a list has a mean at its place; a token has none, and zero is a token itself.
  const isFilled = column.kind !== "list" || (column.gaps === column.missing && !isOfTokens(column.name));
  if (missing !== undefined && !isLabel && isFilled) return;
  const help = isLabel || !isFilled ? "--missing drop" : "--missing mean, zero or drop";
  const what = isLabel ? "label" : "column";
  if (column.gaps > 0) {
    throw new DataError(
      `${source.name}: ${placeOf(source, column.firstMissing)}, ${what} "${column.name}" holds a list without all its numbers (${column.missing} rows lack some): use ${help}`,
    );
  }
  const trailing =
    column.name === ""
      ? ", or --columns without the column that has no name (lines may end in a separator)"
      : "";
  throw new DataError(
    `${source.name}: ${placeOf(source, column.firstMissing)}, ${what} "${column.name}" has no value (${column.missing} rows have none): use ${help}${trailing}`,
  );
}
