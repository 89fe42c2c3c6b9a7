import { DataError, UsageError } from "../../errors.ts";
import type { WantedInput } from "../model-inputs.ts";
import { isUsual } from "../token-columns.ts";
import type { TableConversion, TableInput, TableLabel } from "./conversion.ts";
import type { SurveyedColumn } from "./survey.ts";
import { type Cell, placeOf, type TableSource } from "./table-source.ts";

/** Lists that are filled up to a length, and what is done about longer ones. */
interface Padding {
  readonly length: number;
  readonly padded: "refused" | "cut";
}

/** The label of a place that does not count, as in PyTorch and in Hugging Face's libraries. */
export const uncounted = -100;

/** The column of the tokens of a sample, and the input of that name. */
const tokens = "input_ids";

/** Whether a column holds tokens, or what belongs to them. */
export const isOfTokens = (name: string): boolean => name === tokens || isUsual(name);

/** What decides how long samples are. */
interface PaddingOptions {
  /** The model's inputs for data. */
  readonly inputs?: readonly WantedInput[] | undefined;
  /** Tokens of a sample; longer lists are cut. */
  readonly length?: number | undefined;
}

/**
 * Lists of tokens of different lengths become equally long, as Hugging Face's data collators make them: where a list ends, tokens
 * and the attention mask are 0, and labels −100. Samples have the length that the options say, that which the model fixes, or that
 * of the longest list.
 * @param surveyed - the columns that the plan reads
 * @throws SorthError for other lists of different lengths, and for a length without tokens
 */
export function padded(
  source: TableSource,
  plan: TableConversion,
  surveyed: readonly SurveyedColumn[],
  { inputs = [], length }: PaddingOptions,
): TableConversion {
  const wanted = new Map(inputs.map(({ name, shape }) => [name, shape]));
  const lists = surveyed.filter(({ kind }) => kind === "list");
  const ids = lists.find(({ name }) => name === tokens && wanted.get(name)?.length === 1);
  const fixed = wanted.get(tokens)?.[0] ?? 0;
  const pads = ids && (length !== undefined || ids.other !== undefined || ids.length < fixed);
  const beside = (name: string) => lists.some((one) => one.name === name && one.length === ids?.length);
  for (const { name, other } of lists) {
    if (other === undefined || (pads && beside(name))) continue;
    throw new DataError(
      `${source.name}: ${placeOf(source, other.row)}, column "${name}" holds a list of ${other.length} numbers, unlike the rows before`,
    );
  }
  if (!pads) {
    if (length === undefined) return plan;
    throw new UsageError(`${source.name}: --length belongs to texts: give --tokenizer too`);
  }
  const padding: Padding = {
    length: length ?? (fixed || ids.length),
    padded: length === undefined ? "refused" : "cut",
  };
  if (!wanted.has("attention_mask")) {
    throw new DataError(
      `${source.name}: the lists of "${tokens}" differ in length, and the model has no input attention_mask, which leaves padding out: give lists of one length`,
    );
  }
  const isSequence = ({ name }: TableInput) => beside(name) && wanted.get(name)?.length === 1;
  const list = (input: string, name: string) => ({
    ...{ name: input, shape: [padding.length] },
    columns: [{ kind: "list", name, ...padding, ...(input !== name && { counts: true as const }) } as const],
  });
  const label = (one: TableLabel): TableLabel => (beside(one.name) ? { ...one, ...padding } : one);
  const hasMask = plan.inputs.some(({ name }) => name === "attention_mask");
  return {
    ...plan,
    inputs: [
      ...plan.inputs.map((input) => (isSequence(input) ? list(input.name, input.name) : input)),
      ...(hasMask ? [] : [list("attention_mask", tokens)]),
    ],
    ...(plan.label && { label: label(plan.label) }),
    ...(plan.targets && { targets: plan.targets.map(label) }),
  };
}

/** Whether lists of a table are filled up or cut. */
export const isPadded = ({ inputs, label, targets = [] }: TableConversion): boolean =>
  inputs.some(({ columns }) => columns.some((column) => column.kind === "list" && column.padded)) ||
  [label, ...targets].some((one) => one?.padded);

/** A recorded conversion with another length of its samples. @throws UsageError where nothing is padded */
export function withLength(name: string, table: TableConversion, length: number): TableConversion {
  const padding: Padding = { length, padded: "cut" };
  const label = (one: TableLabel): TableLabel => (one.padded ? { ...one, ...padding } : one);
  const inputs = table.inputs.map((input): TableInput => {
    const [column] = input.columns;
    return column?.kind === "list" && column.padded
      ? { ...input, columns: [{ ...column, ...padding }], shape: [length] }
      : input;
  });
  if (inputs.every((input, i) => input === table.inputs[i])) {
    throw new UsageError(`${name}: --length belongs to texts: give --tokenizer too`);
  }
  return {
    ...{ ...table, inputs },
    ...(table.label && { label: label(table.label) }),
    ...(table.targets && { targets: table.targets.map(label) }),
  };
}

/**
 * The numbers of a list in a cell, as many as its column has, or fewer where they are padded.
 * @returns undefined for a cell without such a list
 */
export function listIn(
  cell: Cell,
  { length, padded }: { readonly length: number; readonly padded?: Padding["padded"] },
): readonly number[] | undefined {
  if (!Array.isArray(cell)) return undefined;
  if (padded === "cut") return cell.slice(0, length);
  return cell.length === length || (padded && cell.length < length) ? cell : undefined;
}

/** What a column of lists holds, for messages. */
export const listWords = (
  cell: Cell,
  { length, padded }: { readonly length: number; readonly padded?: Padding["padded"] },
): string =>
  padded && Array.isArray(cell)
    ? `a list of at most ${length} numbers (--length ${cell.length} has room for it, a smaller one cuts)`
    : `a list of ${length} numbers`;
