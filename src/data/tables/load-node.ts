import { extname } from "node:path";
import { fedInputs } from "../../analysis/dimensions.ts";
import { UsageError } from "../../errors.ts";
import { graphOf } from "../../graph/model-graph.ts";
import { isFloat } from "../../onnx/data-types.ts";
import type { Model } from "../../onnx/model.ts";
import { splitRows } from "../batches.ts";
import type { DataConversion } from "../conversion.ts";
import { type WantedInput, wantedInputs } from "../model-inputs.ts";
import type { DataOptions } from "../options.ts";
import type { SplitData } from "../split-data.ts";
import { isUsual } from "../token-columns.ts";
import type { TableConversion } from "./conversion.ts";
import { widthOf } from "./conversion.ts";
import { convertTable } from "./dataset.ts";
import { openTable } from "./open-node.ts";
import { withLength } from "./padding.ts";
import { chosenColumns, planTable } from "./plan.ts";
import { survey } from "./survey.ts";
import type { TableSource } from "./table-source.ts";
import { writtenNumbers } from "./written-numbers.ts";

/**
 * Reads a table: CSV, TSV, JSONL or Parquet. Numbers of all columns but the label are fed one after another, in the order of
 * the file; texts become one number for each text of their column, 1 for their own and 0 for the others. A column with the
 * name of one of the model's inputs is fed to that input.
 * @param path - the file, or what several files are called in messages
 * @param files - the files, whose rows follow one another
 * @throws SorthError that names file, row and column, what is expected and found, and the option that helps
 */
export async function loadTable(
  path: string,
  options: DataOptions,
  files: readonly string[] = [path],
): Promise<SplitData> {
  if (options.tokenizer !== undefined || options.conversion?.text) {
    return (await import("../text/load-node.ts")).loadText(path, options, files);
  }
  const { text, truncation } = options;
  for (const [name, value] of Object.entries({ text, truncation })) {
    if (value !== undefined)
      throw new UsageError(`${path}: --${name} belongs to texts: give --tokenizer too`);
  }
  if (extname(path).toLowerCase() === ".parquet" && !options.conversion?.table) {
    const { loadParquetImages } = await import("../images/parquet-images-node.ts");
    const images = await loadParquetImages(path, options, files);
    if (images) return images;
  }
  const stored = options.conversion?.table;
  const source = await openTable(path, files, options.label ?? stored?.label?.name);
  return stored ? asTrained(source, stored, options) : asNew(source, options);
}

/** Reads a table as that of a training run was read. A table without the column of the labels has none. */
async function asTrained(
  source: TableSource,
  stored: TableConversion,
  options: DataOptions,
): Promise<SplitData> {
  const { conversion, missing } = options;
  checkRecorded(source, stored, options);
  const { label: recorded, targets = [], ...unlabelled } = stored;
  const given =
    options.label === undefined ? undefined : chosenColumns(source, { label: options.label }).label;
  const label = given === undefined ? recorded : { ...recorded, name: given };
  const isThere = ({ name }: { readonly name: string }) => source.columns.includes(name);
  const there = targets.filter(isThere);
  const known = {
    ...unlabelled,
    ...(label && isThere(label) && { label }),
    ...(there.length > 0 && { targets: there }),
  };
  const sized = options.length === undefined ? known : withLength(source.name, known, options.length);
  const table = missing === "drop" ? { ...sized, dropsMissing: true as const } : sized;
  let rows = 0;
  for await (const chunk of source.rows([])) rows += chunk.length;
  const { dataset, dropped } = await convertTable(source, rows, table);
  const remarks = droppedRemark(source, dropped);
  return { train: dataset, test: undefined, remarks, ...(conversion && { conversion }) };
}

/** @throws UsageError for options that would need a model trained on other numbers */
function checkRecorded(
  { name }: TableSource,
  { inputs }: TableConversion,
  { columns, missing, standardize }: DataOptions,
): void {
  const recorded = inputs.flatMap((input) => input.columns);
  const refuse = (flag: string, what: string): never => {
    throw new UsageError(`${name}: the model was trained ${what}: leave ${flag} out, or train with it`);
  };
  const names = recorded.map((column) => column.name);
  if (columns && (columns.length !== names.length || !columns.every((one) => names.includes(one)))) {
    refuse("--columns", `on the columns ${names.join(", ")}`);
  }
  const isStandardized = recorded.some((column) => column.kind !== "category" && column.mean !== undefined);
  if (standardize && !isStandardized) refuse("--standardize", "on numbers as they are");
  const isUnfilled = recorded.some((column) => column.kind === "number" && column.missing === undefined);
  if ((missing === "mean" || missing === "zero") && isUnfilled) {
    refuse(`--missing ${missing}`, "on data without a number for missing values");
  }
}

async function asNew(source: TableSource, options: DataOptions): Promise<SplitData> {
  const { model, dims, missing, standardize, length, validation, seed = 0 } = options;
  const inputs: readonly WantedInput[] | undefined = model && wantedInputs(model, dims);
  const chosen = chosenColumns(source, options);
  const { targets } = chosen;
  const names = [
    ...fedByName(chosen, inputs, options),
    ...(chosen.label === undefined ? [] : [chosen.label]),
    ...targets,
  ];
  const { rows, columns } = await survey(source, names, missing === "drop");
  const label = columns.find(({ name }) => name === chosen.label);
  const plan = planTable(source, columns, label, {
    ...{ missing, standardize, targets, length, classes: options.classes },
    ...(inputs && { inputs }),
  });
  const wholeInputs = model ? inputsOfWholeNumbers(model) : new Set<string>();
  const hasNumbers = ({ name, columns: own }: TableConversion["inputs"][number]) =>
    !wholeInputs.has(name) && own.some(({ kind }) => kind !== "category");
  if (standardize && !plan.inputs.some(hasNumbers)) {
    const texts = plan.inputs.every((input) => input.columns.every(({ kind }) => kind === "category"));
    const why = texts ? "all columns to feed hold texts" : "no input of the model takes any with a fraction";
    throw new UsageError(`${source.name}: --standardize acts on numbers, and ${why}: leave it out`);
  }
  const trainingRows =
    typeof validation === "number" && validation > 0
      ? (size: number) => splitRows(source.name, size, validation, seed).train
      : undefined;
  const statistics = { missing, standardize, wholeInputs, trainingRows };
  const { dataset, conversion: table, dropped } = await convertTable(source, rows, plan, statistics);
  const classes = table.label?.classes ?? table.label?.names;
  const conversion: DataConversion = { version: 1, table, ...(classes && { classes }) };
  const remarks = [...columnRemarks(source, table), ...droppedRemark(source, dropped)];
  return { train: dataset, test: undefined, remarks, conversion };
}

/** The inputs of a model that take no fractions. */
const inputsOfWholeNumbers = (model: Model): ReadonlySet<string> =>
  new Set(
    fedInputs(graphOf(model)).flatMap(({ name, type }) =>
      type === undefined || isFloat(type) ? [] : [name],
    ),
  );

/** The columns to feed: where the model's inputs have all columns of their names, the others are not read. */
function fedByName(
  { columns }: { readonly columns: readonly string[] },
  inputs: readonly WantedInput[] | undefined,
  options: DataOptions,
): readonly string[] {
  const named = columns.filter((column) => inputs?.some(({ name }) => name === column));
  const lacks = inputs?.some(({ name }) => !named.includes(name) && !isUsual(name));
  return options.columns || lacks || named.length === 0 ? columns : named;
}

const droppedRemark = ({ name }: TableSource, dropped: number): string[] =>
  dropped > 0 ? [`${name}: ${dropped} rows lack a value and are left out`] : [];

function columnRemarks(
  { name, columns }: TableSource,
  { inputs, label, targets = [] }: TableConversion,
): string[] {
  const fed = inputs.map((input) => {
    const parts = input.columns.map((column) =>
      widthOf(column) > 1 ? `${column.name} (${widthOf(column)})` : column.name,
    );
    return `${input.name} from ${parts.length > 12 ? `${parts.length} columns` : parts.join(", ")}`;
  });
  const named = [...(label ? [label] : []), ...targets].map((column) => column.name);
  const target =
    named.length > 0
      ? `labels from ${named.join(", ")}`
      : `no labels: none of ${columns.length} columns has a usual name (y, label, target, …), --label names one`;
  const [list] = inputs.flatMap((input) => input.columns).filter((one) => one.kind === "list" && one.padded);
  const padding =
    list?.kind === "list"
      ? `; ${list.length} tokens: shorter lists are filled up${list.padded === "cut" ? ", longer ones cut" : ""}`
      : "";
  const used = new Set(inputs.flatMap((input) => input.columns.map((column) => column.name)));
  const others = columns.filter((column) => !used.has(column) && !named.includes(column));
  const unused = others.length > 0 ? `; not fed: ${others.join(", ")}` : "";
  return [`${name}: ${fed.join("; ")}; ${target}${padding}${unused}`, ...writtenRemarks(name, inputs, label)];
}

/** Remarks on numbers and dates that were written as texts: they are read as such. */
function writtenRemarks(
  name: string,
  inputs: TableConversion["inputs"],
  label: TableConversion["label"],
): string[] {
  const fed = inputs.flatMap(({ columns }) =>
    columns.flatMap((column) =>
      column.kind === "category"
        ? [{ of: `column "${column.name}"`, texts: column.categories, as: "numbers of their own, 0 or 1" }]
        : [],
    ),
  );
  const labels = label?.classes ? [{ of: `label "${label.name}"`, texts: label.classes, as: "classes" }] : [];
  return [...fed, ...labels].flatMap(({ of, texts, as }) => {
    const found = writtenNumbers(texts);
    if (!found) return [];
    const help = "write plain numbers, or leave the column out (--columns)";
    return [
      `${name}: ${of} holds ${found.what} (${found.example}), which are read as texts and become ${as}: ${help}`,
    ];
  });
}
