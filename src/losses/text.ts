import { UsageError } from "../errors.ts";
import { hyphened, nameAndOptions, readOptions } from "../name-and-options.ts";
import type { Objective, ObjectiveOptions } from "./objective.ts";
import { objectiveNamed } from "./table.ts";
import type { LossTerm } from "./terms.ts";

function objectiveOf(
  name: string,
  options: ReadonlyMap<string, string>,
  more: ObjectiveOptions,
  text: string,
): Objective {
  const { options: defaults } = objectiveNamed(name);
  const read = readOptions(options, defaults);
  const taken = Object.fromEntries(
    Object.entries(more).filter(([option]) => Object.hasOwn(defaults, option)),
  );
  const twice = Object.keys(read).find((option) => Object.hasOwn(taken, option));
  if (twice !== undefined)
    throw new UsageError(`"${text}" gives ${twice} already; leave out --${hyphened(twice)}`);
  return objectiveNamed(name, { ...read, ...taken });
}

/** Whether a loss is a file: an ONNX model, or a module with a function. */
export const isLossFile = (name: string): boolean => /\.(onnx|[cm]?[jt]s)$/i.test(name);

/** Options of a term, beside those of its loss. */
const termOptions = ["name", "output", "labels", "mask", "weight", "teacher"] as const;

/**
 * Reads a loss from text: a name and, after a colon, its options, those of a term in a sum among them. Names of options may be
 * written with hyphens, values with commas stand in quotes. `labels` is the array with the labels, except for the kinds of
 * labels of the cross-entropy (`classes`, `probabilities`).
 *
 * @param more - options that are given elsewhere; a loss takes those that it has
 * @param files - losses from files, by path
 * @throws UsageError for an unknown name or option, an invalid value, or an option that is given twice
 *
 * @example
 * parseTerm("cross-entropy:label-smoothing=0.1,class-weights='1,5,2.5'");
 * parseTerm("huber:output=box,labels=y_box,weight=0.5"); // { objective: huber(), output: "box", labels: "y_box", weight: 0.5 }
 */
export function parseTerm(
  text: string,
  more: ObjectiveOptions = {},
  files: ReadonlyMap<string, LossTerm["objective"]> = new Map(),
): LossTerm {
  const { name, options } = nameAndOptions(text);
  const own = new Map(options);
  const term: Record<string, string> = {};
  for (const option of termOptions) {
    const value = own.get(option);
    if (value === undefined || isKindOfLabels(name, option, value)) continue;
    if (value === "") throw new UsageError(`"${text}" gives no ${option}: write ${option}=…`);
    term[option] = value;
    own.delete(option);
  }
  const { weight: factor, ...others } = term;
  const weight = factor === undefined ? undefined : Number(factor);
  if (weight !== undefined && !(weight >= 0 && Number.isFinite(weight))) {
    throw new UsageError(`the weight of "${text}" is ${factor}: give a number of at least 0`);
  }
  const rest = { ...others, ...(weight !== undefined && { weight }) };
  if (!isLossFile(name)) return { objective: objectiveOf(name, own, more, text), ...rest };
  const [unknown] = own.keys();
  if (unknown !== undefined) {
    throw new UsageError(
      `a loss from a file has the options ${termOptions.join(", ")}, not ${unknown} ("${text}")`,
    );
  }
  const objective = files.get(name);
  if (!objective)
    throw new UsageError(`this command takes no loss from a file ("${name}"): name one of its own`);
  return { objective, ...rest };
}

/** The arrays that the text of a loss names: its labels and its mask. */
export function arraysOfTerm(text: string): string[] {
  const { name, options } = nameAndOptions(text);
  return ["labels", "mask"].flatMap((option) => {
    const value = options.get(option);
    return value === undefined || isKindOfLabels(name, option, value) ? [] : [value];
  });
}

/** `labels=probabilities` is an option of the cross-entropy, and no array. */
const isKindOfLabels = (name: string, option: string, value: string): boolean =>
  option === "labels" && name === "cross-entropy" && ["classes", "probabilities"].includes(value);

/** A loss as {@link parseTerm} reads it, with all its options: `huber:delta=1`. */
export function objectiveForm(name: string): string {
  const options = Object.entries(objectiveNamed(name).options).map(
    ([option, value]) => `${hyphened(option)}=${value}`,
  );
  return options.length === 0 ? name : `${name}:${options.join(",")}`;
}
