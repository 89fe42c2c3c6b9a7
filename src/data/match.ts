import { DataError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import type { LabelMaker } from "../losses/objective.ts";
import type { Column, Dataset } from "./dataset.ts";
import { isUsual, labelledTokens, tokensOf, usualColumn } from "./token-columns.ts";

/** Usual names of label arrays and label inputs. */
const labelNames = new Set([
  ...["y", "label", "labels", "target", "targets", "y_true", "ground_truth", "classes"],
]);

/** Whether `name` is a usual name for labels. */
export const isLabelName = (name: string): boolean => labelNames.has(name.toLowerCase());

/** The inputs of a model that are fed with data. */
interface FedNames {
  /** Inputs from which the model computes its prediction. */
  readonly data: readonly string[];
  /** Label inputs: those of the model itself, and the labels of an objective. */
  readonly labels: readonly string[];
  /** The labels that the objective makes of tokens where the data hold none. */
  readonly own?: { readonly name: string; readonly own?: LabelMaker | undefined } | undefined;
}

/** The array for each input. */
interface Match {
  /** By input name: a column, or "x" or "y" for a dataset without named arrays. */
  readonly columns: ReadonlyMap<string, Column | "x" | "y">;
  /** Arrays that no input takes. */
  readonly unused: readonly string[];
}

/**
 * Finds the array of a dataset for each input of a model: the one with the same name. A model with one data input takes the
 * array `x`, or the only array; a model with one label input takes the labels. Labels are fed as data only to an input with
 * their name. Inputs of language models that data usually leave out get their usual numbers ({@link usualColumn}), and the
 * objective of such a model makes its labels itself.
 * @throws SorthError that names the inputs without an array, and the available arrays
 */
export function matchInputs(dataset: Dataset, { data, labels, own }: FedNames): Match {
  const columns = new Map<string, Column | "x" | "y">();
  const taken = new Set<Column>();
  const take = (input: string, column: Column) => {
    columns.set(input, column);
    taken.add(column);
  };
  const all = [...(dataset.inputs?.values() ?? []), ...(dataset.labels ? [dataset.labels] : [])];
  for (const input of [...data, ...labels]) {
    const column = all.find(({ name }) => name === input);
    if (column) take(input, column);
  }
  const open = (inputs: readonly string[]) => inputs.filter((name) => !columns.has(name));

  const plain = data.length > 1 ? data.filter((name) => !isUsual(name)) : data;
  for (const input of open(data.filter((name) => !plain.includes(name)))) {
    const column = usualColumn(input, dataset);
    if (column) columns.set(input, column);
  }
  if (plain.length === 1) {
    for (const input of open(plain)) {
      if (!dataset.inputs) columns.set(input, "x");
      const free = [...(dataset.inputs?.values() ?? [])].filter((column) => !taken.has(column));
      const column =
        free.find(({ name }) => name.toLowerCase() === "x") ?? (free.length === 1 ? free[0] : undefined);
      if (column) take(input, column);
    }
  }
  const waiting = open(labels);
  const target = waiting.length === 1 ? waiting[0] : waiting.find(isLabelName);
  if (target !== undefined) {
    const free = dataset.labels && !taken.has(dataset.labels) ? dataset.labels : undefined;
    if (free) take(target, free);
    else if (!dataset.inputs && !dataset.labels && dataset.y.type !== "none") columns.set(target, "y");
  }
  if (own?.own && !columns.has(own.name)) {
    const tokens = tokensOf(dataset);
    const written = labelledTokens(dataset, own.own);
    columns.set(own.name, { ...written.labels, name: own.name });
    for (const input of data) {
      const column = columns.get(input);
      const isTokens = column === tokens || column === "x";
      if (isTokens && own.own.replacesTokens) columns.set(input, written.tokens);
    }
  }
  const missing = open([...data, ...labels]);
  if (missing.length > 0) throw new DataError(missingText(dataset, missing, labels));
  return { columns, unused: all.filter((column) => !taken.has(column)).map(({ name }) => name) };
}

function missingText(dataset: Dataset, missing: readonly string[], labels: readonly string[]): string {
  const [first = ""] = missing;
  const held = dataset.inputs
    ? [...dataset.inputs.values(), ...(dataset.labels ? [dataset.labels] : [])]
    : [{ ...dataset.x, name: "x" }, ...(dataset.y.type === "none" ? [] : [{ ...dataset.y, name: "y" }])];
  const arrays = held.map(({ name, shape }) => `${name} ${shapeText(shape)}`).join(", ");
  const which = missing.map((name) => `"${name}"`).join(", ");
  const [kind, advice] = labels.includes(first)
    ? ["labels", "--label names their column; an array is called labels"]
    : ["data", "save arrays under the names of their inputs"];
  const several = missing.length > 1 ? "inputs" : "input";
  return `${dataset.name}: no array belongs to the ${several} ${which} of the model (${kind}); samples hold ${arrays}: ${advice}`;
}
