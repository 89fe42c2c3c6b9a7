import { createReadStream } from "node:fs";
import { extname } from "node:path";
import { DataError, FileError, messageOf, UsageError } from "../../errors.ts";
import { arrayColumn } from "../array-dataset.ts";
import type { DataConversion } from "../conversion.ts";
import { type Column, datasetOfColumns } from "../dataset.ts";
import { isLabelName } from "../match.ts";
import { wantedInputs } from "../model-inputs.ts";
import type { DataOptions } from "../options.ts";
import type { SplitData } from "../split-data.ts";
import { LabelRows } from "../tables/dataset.ts";
import { openTable } from "../tables/open-node.ts";
import { placeOf, survey } from "../tables/survey.ts";
import { type Cell, type TableSource, textIn } from "../tables/table-source.ts";
import { TokenBlocks } from "./blocks.ts";
import type { TextConversion } from "./conversion.ts";
import { paddedTokens } from "./tokenizer.ts";
import { type LoadedTokenizer, loadTokenizer } from "./tokenizer-node.ts";

/** Whether a file is plain text, by its name. */
const isTextFile = (path: string): boolean => extname(path).toLowerCase() === ".txt";

/**
 * Reads texts as tokens: a `.txt` file, or a column of a table. Without labels, or for a language model, all documents (lines of
 * a text file with their line break, rows of a table) are joined and cut in blocks of `length` tokens; otherwise each row of a
 * table is a sample, cut or padded to `length`.
 * @throws SorthError that names file, row and column, and the option that helps
 */
export async function loadText(path: string, options: DataOptions): Promise<SplitData> {
  const { columns, standardize, missing, conversion } = options;
  for (const [name, value] of Object.entries({ columns, standardize })) {
    if (value !== undefined)
      throw new UsageError(`${path}: --${name} belongs to tables of numbers, not to texts`);
  }
  if (missing === "mean" || missing === "zero") {
    throw new UsageError(`${path}: a missing text has no mean: use --missing drop`);
  }
  const stored = conversion?.text;
  const loaded = await tokenizerOf(path, options);
  const length = stored?.length ?? options.length ?? fixedLength(options);
  if (length === undefined) {
    throw new UsageError(`${path}: how many tokens has a sample? Say it with --length, as in --length 128`);
  }
  const base = {
    ...loaded.facts,
    ...{ tokenizer: loaded.folder, checksum: loaded.checksum, length },
  };
  if (isTextFile(path)) {
    if (options.label !== undefined) throw new UsageError(`${path}: a text file has no column for --label`);
    return blocks(path, linesOf(path), loaded, { ...base, samples: "blocks" });
  }
  const source = await openTable(path);
  // A model that learned from a text file may be evaluated on a table.
  const text: TextConversion =
    stored && stored.column !== undefined
      ? { ...stored, ...base, ...(options.text !== undefined && { column: options.text }) }
      : {
          ...base,
          ...chosenColumns(source, {
            ...options,
            languageModel: stored !== undefined || options.languageModel,
          }),
        };
  return text.samples === "blocks"
    ? blocks(path, textsOf(source, text, missing), loaded, text)
    : rows(source, text, loaded, options);
}

/** The tokenizer that the options or the training run name. @throws UsageError for another one than that of the run */
async function tokenizerOf(path: string, { tokenizer, conversion }: DataOptions): Promise<LoadedTokenizer> {
  const stored = conversion?.text;
  const folder = tokenizer ?? stored?.tokenizer;
  if (folder === undefined) {
    throw new UsageError(
      `${path}: texts need a tokenizer: give its folder, --tokenizer DIR (with tokenizer.json)`,
    );
  }
  let loaded: LoadedTokenizer;
  try {
    loaded = await loadTokenizer(folder);
  } catch (error) {
    if (tokenizer !== undefined || !(error instanceof FileError)) throw error;
    throw new FileError(
      `${error.message}: the model was trained with this tokenizer; say where it is now (--tokenizer DIR)`,
    );
  }
  if (stored && loaded.checksum !== stored.checksum) {
    throw new UsageError(
      `${folder}: this is not the tokenizer with which the model was trained (${stored.tokenizer}; another checksum): give that one`,
    );
  }
  return loaded;
}

/** The number of tokens that the model's file fixes. */
function fixedLength({ model, dims }: DataOptions): number | undefined {
  const inputs = model ? wantedInputs(model, dims) : [];
  const tokens = inputs.find(({ name }) => name === "input_ids") ?? inputs[0];
  return tokens?.shape.length === 1 ? (tokens.shape[0] ?? undefined) : undefined;
}

function chosenColumns(
  { name, columns }: TableSource,
  { label, text, languageModel }: DataOptions,
): Pick<TextConversion, "samples" | "column" | "label"> {
  for (const [flag, column] of [
    ["label", label],
    ["text", text],
  ] as const) {
    if (column !== undefined && !columns.includes(column)) {
      throw new UsageError(
        `${name}: there is no column "${column}" (--${flag}); it has ${columns.join(", ")}`,
      );
    }
  }
  const usual = columns.filter((column) => isLabelName(column) && column !== text);
  if (label === undefined && !languageModel && usual.length > 1) {
    throw new UsageError(
      `${name}: which of the columns ${usual.join(" and ")} is the label? Say it with --label`,
    );
  }
  const target = label ?? usual[0];
  const others = columns.filter((column) => column !== target);
  const column = text ?? (others.includes("text") ? "text" : others.length === 1 ? others[0] : undefined);
  if (column === undefined) {
    throw new UsageError(
      `${name}: which of the columns ${others.join(", ")} holds the texts? Say it with --text`,
    );
  }
  if (languageModel || target === undefined) return { samples: "blocks", column };
  return { samples: "rows", column, label: { name: target } };
}

async function blocks(
  name: string,
  texts: AsyncIterable<string>,
  { tokenizer }: LoadedTokenizer,
  text: TextConversion,
): Promise<SplitData> {
  const found = new TokenBlocks(text.length);
  let documents = 0;
  for await (const document of texts) {
    found.add(tokenizer.encode(document).ids);
    documents += 1;
  }
  const data = found.whole;
  const size = data.length / text.length;
  const counts = `${documents.toLocaleString("en-US")} documents, ${found.count.toLocaleString("en-US")} tokens`;
  if (size === 0)
    throw new DataError(`${name}: ${counts} fill no block of ${text.length}: choose a smaller --length`);
  const rest = found.count % text.length;
  return {
    train: datasetOfColumns(name, size, [tokenColumn(name, size, data, text)], undefined),
    test: undefined,
    remarks: [
      `${name}: ${counts} → ${size.toLocaleString("en-US")} blocks of ${text.length}${rest > 0 ? `; the last ${rest} fill none and are left out` : ""}`,
    ],
    conversion: { version: 1, text },
  };
}

async function rows(
  source: TableSource,
  text: TextConversion,
  { tokenizer, facts }: LoadedTokenizer,
  { missing }: DataOptions,
): Promise<SplitData> {
  const { column = "", length } = text;
  const at = source.columns.indexOf(column);
  if (at < 0) {
    throw new DataError(
      `${source.name}: there is no column "${column}", whose texts the model was trained on; it has ${source.columns.join(", ")}`,
    );
  }
  const label = await labelOf(source, text);
  const total = await rowsIn(source);
  const [ids, attention] = [new Int32Array(total * length), new Uint8Array(total * length)];
  const labels = label && new LabelRows(source, label, total);
  let [row, size, cut] = [0, 0, 0];
  for await (const chunk of source.rows()) {
    for (const cells of chunk) {
      const lacks = isEmpty(cells[at]) || (labels?.lacks(cells) ?? false);
      if (!lacks || missing !== "drop") {
        const padded = paddedTokens(textAt(source, cells, at, row), tokenizer, facts, length);
        ids.set(padded.ids, size * length);
        attention.set(padded.attention, size * length);
        labels?.write(cells, size, row);
        if (padded.attention.every((counts) => counts === 1)) cut += 1;
        size += 1;
      }
      row += 1;
    }
  }
  if (size === 0) throw new DataError(`${source.name}: no row has a text`);
  const { name } = source;
  const columns = [
    tokenColumn(name, size, ids.subarray(0, size * length), text),
    arrayColumn(name, "attention_mask", size, {
      data: attention.subarray(0, size * length),
      shape: [length],
    }),
  ];
  const { classes } = label ?? {};
  const conversion: DataConversion = {
    ...{ version: 1, text: label ? { ...text, label } : text },
    ...(classes && { classes }),
  };
  const full =
    cut > 0
      ? `; ${cut.toLocaleString("en-US")} of ${size.toLocaleString("en-US")} fill all ${length} tokens and may be cut`
      : "";
  return {
    train: datasetOfColumns(name, size, columns, labels?.column(size)),
    test: undefined,
    remarks: [`${name}: texts from ${column}; ${label ? `labels from ${label.name}` : "no labels"}${full}`],
    conversion,
  };
}

/** The column of the labels with its classes; undefined in a table without it. */
async function labelOf(source: TableSource, { label }: TextConversion): Promise<TextConversion["label"]> {
  if (!label || !source.columns.includes(label.name)) return undefined;
  if (label.classes) return label;
  const { columns } = await survey(source, [label.name]);
  const [found] = columns;
  return found?.kind === "category" ? { ...label, classes: found.categories } : label;
}

async function rowsIn(source: TableSource): Promise<number> {
  let count = 0;
  for await (const chunk of source.rows()) count += chunk.length;
  return count;
}

const tokenColumn = (name: string, size: number, data: Int32Array, { length }: TextConversion): Column =>
  arrayColumn(name, "input_ids", size, { data, shape: [length] });

async function* textsOf(
  source: TableSource,
  { column = "" }: TextConversion,
  missing: DataOptions["missing"],
): AsyncGenerator<string> {
  const at = source.columns.indexOf(column);
  let row = 0;
  for await (const chunk of source.rows()) {
    for (const cells of chunk) {
      if (!isEmpty(cells[at]) || missing !== "drop") yield textAt(source, cells, at, row);
      row += 1;
    }
  }
}

function textAt(source: TableSource, cells: readonly Cell[], at: number, row: number): string {
  const cell = cells[at];
  if (isEmpty(cell)) {
    throw new DataError(
      `${source.name}: ${placeOf(source, row)}, column "${source.columns[at]}" holds no text: use --missing drop to leave such rows out`,
    );
  }
  return typeof cell === "string" ? cell : textIn(cell);
}

/** Whether a cell holds no text. The words that mark missing values elsewhere (`NA`, `null`) are texts. */
const isEmpty = (cell: Cell | undefined): cell is null | undefined | "" =>
  cell === null || cell === undefined || cell === "";

/** The lines of a file, each with its line break. */
async function* linesOf(path: string): AsyncGenerator<string> {
  let rest = "";
  try {
    for await (const part of createReadStream(path, "utf8")) {
      const lines = `${rest}${part as string}`.split(/(?<=\n)/);
      rest = lines.pop() ?? "";
      yield* lines;
    }
  } catch (error) {
    throw new FileError(`${path}: cannot be read (${messageOf(error)})`);
  }
  if (rest !== "") yield rest;
}
