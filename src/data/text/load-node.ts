import { extname } from "node:path";
import { DataError, FileError, UsageError } from "../../errors.ts";
import { arrayColumn } from "../array-dataset.ts";
import { datasetOfColumns } from "../dataset.ts";
import { wantedInputs } from "../model-inputs.ts";
import type { DataOptions } from "../options.ts";
import type { SplitData } from "../split-data.ts";
import { openTable } from "../tables/open-node.ts";
import type { TableSource } from "../tables/table-source.ts";
import { linesOf } from "../text-file-node.ts";
import { chosenColumns, columnsOf, labelNamed, textColumns } from "./columns.ts";
import type { TextConversion } from "./conversion.ts";
import { holdsNoText, rows, textAt } from "./rows-node.ts";
import { type LoadedTokenizer, loadTokenizer } from "./tokenizer-node.ts";

/** Whether a file is plain text, by its name. */
const isTextFile = (path: string): boolean => extname(path).toLowerCase() === ".txt";

/**
 * Reads texts as tokens: a `.txt` file, or columns of a table. Without labels, or for a language model, all documents (lines of
 * a text file with their line break, rows of a table) are joined and cut in blocks of `length` tokens; otherwise each row of a
 * table is a sample, cut or padded to `length`: one text, a pair in one sequence, or several beside each other for losses of
 * embeddings. Rows and lines of several files follow one another.
 * @throws SorthError that names file, row and column, and the option that helps
 */
export async function loadText(
  path: string,
  options: DataOptions,
  files: readonly string[] = [path],
): Promise<SplitData> {
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
  const base = { ...loaded.facts, tokenizer: loaded.folder, checksum: loaded.checksum };
  const length = options.length ?? stored?.length ?? fixedLength(options);
  if (isTextFile(path)) {
    for (const flag of ["label", "truncation"] as const) {
      if (options[flag] === undefined) continue;
      throw new UsageError(`${path}: --${flag} belongs to texts in tables`);
    }
    return blocks(path, linesOfAll(files), loaded, {
      ...base,
      length: neededLength(path, length),
      samples: "blocks",
    });
  }
  const source = await openTable(path, files, options.label ?? stored?.label?.name);
  // A model that learned from a text file may be evaluated on a table.
  const asTrained = stored !== undefined && columnsOf(stored).length > 0;
  const chosen = asTrained
    ? { ...stored, ...namedAnew(source, stored, options) }
    : chosenColumns(source, { ...options, languageModel: stored !== undefined || options.languageModel });
  if (chosen.samples === "blocks") {
    if (options.truncation) {
      throw new UsageError(
        `${path}: --truncation belongs to rows that are samples, and these are joined and cut in blocks`,
      );
    }
    const text = { ...chosen, ...base, length: neededLength(path, length) };
    return blocks(path, textsOf(source, text, missing), loaded, text);
  }
  const { truncation } = options;
  if (truncation !== undefined && (chosen.apart || columnsOf(chosen).length < 2)) {
    throw new UsageError(
      `${path}: --truncation says which text of a pair is cut, and here each sequence is one text: leave it out`,
    );
  }
  return rows(source, { ...chosen, ...base, ...(truncation && { truncation }) }, length, loaded, options);
}

async function* linesOfAll(files: readonly string[]): AsyncGenerator<string> {
  for (const file of files) yield* linesOf(file);
}

/** The columns that the options name in place of those of a record. */
const namedAnew = (source: TableSource, { label: stored }: TextConversion, { text, label }: DataOptions) => ({
  ...(text !== undefined && textColumns(source, text)),
  ...(label !== undefined && { label: { ...stored, name: labelNamed(source, label) } }),
});

function neededLength(path: string, length: number | undefined): number {
  if (length !== undefined) return length;
  throw new UsageError(`${path}: how many tokens has a sample? Say it with --length, as in --length 128`);
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
    train: datasetOfColumns(
      name,
      size,
      [arrayColumn(name, "input_ids", size, { data, shape: [text.length] })],
      undefined,
    ),
    test: undefined,
    remarks: [
      `${name}: ${counts} → ${size.toLocaleString("en-US")} blocks of ${text.length}${rest > 0 ? `; the last ${rest} fill none and are left out` : ""}`,
    ],
    conversion: { version: 1, text },
  };
}

async function* textsOf(
  source: TableSource,
  { column = "" }: TextConversion,
  missing: DataOptions["missing"],
): AsyncGenerator<string> {
  const at = source.columns.indexOf(column);
  let row = 0;
  for await (const chunk of source.rows()) {
    for (const cells of chunk) {
      if (!holdsNoText(cells[at]) || missing !== "drop") yield textAt(source, cells, at, row);
      row += 1;
    }
  }
}

/** Joins the tokens of documents and cuts them in blocks of one length, as Hugging Face's run_clm and run_mlm do. */
class TokenBlocks {
  readonly #length: number;
  #tokens = new Int32Array(65_536);
  #count = 0;

  constructor(length: number) {
    this.#length = length;
  }

  add(tokens: readonly number[]): void {
    if (this.#count + tokens.length > this.#tokens.length) {
      const larger = new Int32Array(Math.max(2 * this.#tokens.length, this.#count + tokens.length));
      larger.set(this.#tokens.subarray(0, this.#count));
      this.#tokens = larger;
    }
    this.#tokens.set(tokens, this.#count);
    this.#count += tokens.length;
  }

  /** Tokens so far. */
  get count(): number {
    return this.#count;
  }

  /** All whole blocks, [blocks, length]; the rest behind the last one is left out. */
  get whole(): Int32Array {
    return this.#tokens.slice(0, this.#count - (this.#count % this.#length));
  }
}
