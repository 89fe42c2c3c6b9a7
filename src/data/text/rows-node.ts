import { DataError } from "../../errors.ts";
import { arrayColumn } from "../array-dataset.ts";
import type { DataConversion } from "../conversion.ts";
import { datasetOfColumns } from "../dataset.ts";
import { wantedInputs } from "../model-inputs.ts";
import type { DataOptions } from "../options.ts";
import type { SplitData } from "../split-data.ts";
import { LabelRows } from "../tables/dataset.ts";
import { labelFrom } from "../tables/plan.ts";
import { survey } from "../tables/survey.ts";
import { type Cell, placeOf, type TableSource, textIn } from "../tables/table-source.ts";
import { columnsOf } from "./columns.ts";
import type { TextConversion } from "./conversion.ts";
import { paddedTokens, type TextOrPair, tokensIn } from "./tokenizer.ts";
import type { LoadedTokenizer } from "./tokenizer-node.ts";

/** Rows of a table as samples of tokens. @param length - tokens of a text; default: as many as the longest has */
export async function rows(
  source: TableSource,
  conversion: Omit<TextConversion, "length">,
  length: number | undefined,
  loaded: LoadedTokenizer,
  options: DataOptions,
): Promise<SplitData> {
  const { name } = source;
  const read = new RowTexts(source, conversion);
  const label = await labelOf(source, conversion, options);
  const total = await rowsIn(source);
  const tokens = length ?? (await longest(source, read, loaded, options.missing));
  const text: TextConversion = { ...conversion, length: tokens, ...(label && { label }) };
  const places = read.places * tokens;
  const [ids, attention] = [new Int32Array(total * places), new Uint8Array(total * places)];
  const types = wantsTypes(conversion, options) ? new Uint8Array(total * places) : undefined;
  const labels = label && new LabelRows(source, label, total);
  const kept = new Uint32Array(total);
  let [row, size, cut] = [0, 0, 0];
  for await (const chunk of source.rows()) {
    for (const cells of chunk) {
      const lacks = read.lacks(cells) || (labels?.lacks(cells) ?? false);
      if (!lacks || options.missing !== "drop") {
        let isCut = false;
        for (const [place, one] of read.texts(cells, row).entries()) {
          const padded = paddedTokens(one, loaded.tokenizer, loaded.facts, tokens, text.truncation);
          const at = size * places + place * tokens;
          ids.set(padded.ids, at);
          attention.set(padded.attention, at);
          types?.set(padded.types, at);
          isCut ||= padded.isCut;
        }
        labels?.write(cells, size, row);
        if (isCut) cut += 1;
        kept[size] = row;
        size += 1;
      }
      row += 1;
    }
  }
  if (size === 0) throw new DataError(`${name}: no row has a text`);
  const shape = read.places === 1 ? [tokens] : [read.places, tokens];
  const column = (key: string, data: Int32Array | Uint8Array) =>
    arrayColumn(name, key, size, { data: data.subarray(0, size * places), shape });
  const columns = [
    column("input_ids", ids),
    column("attention_mask", attention),
    ...(types ? [column("token_type_ids", types)] : []),
  ];
  const classes = label?.classes ?? label?.names;
  const record: DataConversion = { version: 1, text, ...(classes && { classes }) };
  const whole = datasetOfColumns(name, size, columns, labels?.column(size));
  const count = (number: number) => number.toLocaleString("en-US");
  const remarks = [
    `texts from ${read.names.join(conversion.apart ? ", " : " and ")}`,
    label ? `labels from ${label.name}` : "no labels",
    ...(length === undefined ? [`${tokens} tokens, as many as the longest has`] : []),
    ...(cut > 0 ? [`${count(cut)} of ${count(size)} are longer than ${tokens} tokens and are cut`] : []),
  ];
  return {
    train: size < row ? { ...whole, sampleRow: (i: number) => kept[i] ?? -1 } : whole,
    test: undefined,
    remarks: [`${name}: ${remarks.join("; ")}`],
    conversion: record,
  };
}

/** Whether a cell holds no text. The words that mark missing values elsewhere (`NA`, `null`) are texts. */
export const holdsNoText = (cell: Cell | undefined): cell is null | undefined | "" =>
  cell === null || cell === undefined || cell === "";

/** @throws DataError for a cell without a text */
export function textAt(source: TableSource, cells: readonly Cell[], at: number, row: number): string {
  const cell = cells[at];
  if (holdsNoText(cell)) {
    throw new DataError(
      `${source.name}: ${placeOf(source, row)}, column "${source.columns[at]}" holds no text: use --missing drop to leave such rows out`,
    );
  }
  return typeof cell === "string" ? cell : textIn(cell);
}

/** The texts of each row. */
class RowTexts {
  readonly names: readonly string[];
  readonly #source: TableSource;
  readonly #at: readonly number[];
  readonly #apart: boolean;

  constructor(source: TableSource, text: Omit<TextConversion, "length">) {
    this.names = columnsOf(text);
    this.#source = source;
    this.#apart = text.apart ?? false;
    this.#at = this.names.map((name) => {
      const at = source.columns.indexOf(name);
      if (at >= 0) return at;
      throw new DataError(
        `${source.name}: there is no column "${name}", whose texts the model was trained on; it has ${source.columns.join(", ")}`,
      );
    });
  }

  /** Sequences of tokens in one sample. */
  get places(): number {
    return this.#apart ? this.#at.length : 1;
  }

  lacks(cells: readonly Cell[]): boolean {
    return this.#at.some((at) => holdsNoText(cells[at]));
  }

  /** The sequences of a row. */
  texts(cells: readonly Cell[], row: number): TextOrPair[] {
    const all = this.#at.map((at) => textAt(this.#source, cells, at, row));
    return this.#apart ? all.map((one) => [one] as const) : [all as unknown as TextOrPair];
  }
}

async function longest(
  source: TableSource,
  read: RowTexts,
  { tokenizer, facts }: LoadedTokenizer,
  missing: DataOptions["missing"],
): Promise<number> {
  let [most, row] = [1, 0];
  for await (const chunk of source.rows()) {
    for (const cells of chunk) {
      if (!read.lacks(cells) || missing !== "drop") {
        for (const one of read.texts(cells, row)) most = Math.max(most, tokensIn(one, tokenizer));
      }
      row += 1;
    }
  }
  return Math.min(most, facts.mostTokens ?? most);
}

/** Whether the model is to know the texts of a pair apart. */
function wantsTypes(text: Omit<TextConversion, "length">, { model, dims }: DataOptions): boolean {
  const isPair = !text.apart && columnsOf(text).length === 2;
  return isPair && (!model || wantedInputs(model, dims).some(({ name }) => name === "token_type_ids"));
}

/** The column of the labels with its classes; undefined in a table without it. */
async function labelOf(
  source: TableSource,
  { label }: Pick<TextConversion, "label">,
  { missing, classes }: Pick<DataOptions, "missing" | "classes">,
): Promise<TextConversion["label"]> {
  if (!label || !source.columns.includes(label.name)) return undefined;
  if (label.classes || label.length !== undefined) return label;
  const { columns } = await survey(source, [label.name], missing === "drop");
  const [found] = columns;
  return found ? labelFrom(found, source, classes) : label;
}

async function rowsIn(source: TableSource): Promise<number> {
  let count = 0;
  for await (const chunk of source.rows()) count += chunk.length;
  return count;
}
