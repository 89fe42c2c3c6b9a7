import { UsageError } from "../errors.ts";
import { hyphened, nameAndOptions, readOptions } from "../name-and-options.ts";
import type { Objective, ObjectiveOptions } from "./objective.ts";
import { objectiveNamed } from "./table.ts";

/**
 * Reads a loss from text: a name and, after a colon, its options. Names of options may be written with hyphens, values with commas
 * stand in quotes.
 *
 * @param more - options that are given elsewhere
 * @throws UsageError for an unknown name or option, an invalid value, or an option that is given twice
 *
 * @example
 * parseObjective("cross-entropy:label-smoothing=0.1,class-weights='1,5,2.5'");
 */
export function parseObjective(text: string, more: ObjectiveOptions = {}): Objective {
  const { name, options } = nameAndOptions(text);
  const read = readOptions(options, objectiveNamed(name).options);
  const twice = Object.keys(read).find((option) => Object.hasOwn(more, option));
  if (twice !== undefined)
    throw new UsageError(`"${text}" gives ${twice} already; leave out --${hyphened(twice)}`);
  return objectiveNamed(name, { ...read, ...more });
}

/** A loss as {@link parseObjective} reads it, with all its options: `huber:delta=1`. */
export function objectiveForm(name: string): string {
  const options = Object.entries(objectiveNamed(name).options).map(
    ([option, value]) => `${hyphened(option)}=${value}`,
  );
  return options.length === 0 ? name : `${name}:${options.join(",")}`;
}
