import type { Command, Option } from "commander";
import { UsageError } from "../../errors.ts";
import { hyphened } from "../../name-and-options.ts";
import { quietCommand } from "../options.ts";
import { type ConfigEntry, readConfig } from "./read.ts";
import { flagTexts, repeats } from "./values.ts";

/** Flags that a configuration cannot hold. */
const outside = ["config", "help", "version"];

/**
 * Replaces `--config <file>` by the arguments and flags that the file holds. What is typed beside it goes before the file.
 * @param command - a command with all its arguments and flags, whose values are lost
 * @param typed - the words after the command's name
 * @throws UsageError for a file that cannot be read, and for keys and values that the command does not have, with their line
 */
export function withConfig(command: Command, typed: readonly string[]): string[] {
  command.exitOverride().configureOutput({ outputError: () => {} });
  const { operands } = command.parseOptions([...typed]);
  const { config } = command.opts<{ config?: string }>();
  if (config === undefined) return [...typed];
  if (command.getOptionValueSource("resume") === "cli") {
    throw new UsageError("a resumed run goes on with the options it was begun with; leave out --config");
  }
  const isTyped = (option: Option) => command.getOptionValueSource(option.attributeName()) === "cli";
  const typedOptions = command.options.filter(isTyped);
  const names = keysOf(command);
  const off = ({ negate, required }: Option, key: string) => !negate && required && names.has(`no-${key}`);
  const used = new Map<string, string>();
  const args: string[] = [];
  const flags: string[] = [];
  for (const entry of readConfig(config)) {
    const where = `"${config}", line ${entry.line}`;
    const found = names.get(normal(entry.key));
    if (found === undefined) {
      const near = nearest(
        entry.key,
        [...names.values()].map(({ key }) => key),
      );
      throw new UsageError(
        `${where}: ${command.name()} has no flag "${entry.key}"; the nearest is "${near}" (see sorth-onnx ${command.name()} --help)`,
      );
    }
    const { key, option } = found;
    const slot = option?.attributeName() ?? key;
    const before = used.get(slot);
    if (before !== undefined)
      throw new UsageError(`${where}: "${entry.key}" is given already, as "${before}"`);
    used.set(slot, entry.key);
    if (option === undefined) args.push(argumentText(entry, where));
    else if (!isTyped(option) && !typedOptions.some((one) => excludes(one, option)))
      flags.push(
        ...(entry.value === false && off(option, key) ? [`--no-${key}`] : wordsOf(option, entry, where)),
      );
  }
  return [...(operands.length > 0 ? [] : args), ...flags, ...withoutConfig(typed)];
}

/** The keys that a configuration of a command may hold, by their normal form: its flags, and arguments. */
function keysOf(command: Command): Map<string, { readonly key: string; readonly option?: Option }> {
  const options = command.options.filter((option) => !outside.includes(option.attributeName()));
  const named = options.map((option) => ({ key: keyOf(option), option }));
  // --no-report is also `report: false`.
  const positive = options.flatMap((option) =>
    option.negate ? [{ key: keyOf(option).replace(/^no-/, ""), option }] : [],
  );
  const args = command.registeredArguments
    .filter(({ variadic }) => !variadic)
    .map((one) => ({ key: one.name() }));
  return new Map([...args, ...positive, ...named].map((one) => [normal(one.key), one]));
}

/** The key of a flag: its name without dashes. */
export const keyOf = ({ long = "" }: Option): string => long.replace(/^--/, "");

/** `maxSteps`, `max_steps` and `max-steps` are the same key. */
const normal = (key: string): string => hyphened(key.replaceAll("_", "-"));

/** Whether one of two flags excludes the other. */
const excludes = (a: Option, b: Option): boolean =>
  [
    [a, b],
    [b, a],
  ].some(([one, other]) =>
    (one as Option & { readonly conflictsWith?: readonly string[] }).conflictsWith?.includes(
      other?.attributeName() ?? "",
    ),
  );

/** The words of the command line for an entry. @throws UsageError for a value that the flag does not take */
function wordsOf(option: Option, { key, value }: ConfigEntry, where: string): string[] {
  const { long = "" } = option;
  if (value === null || value === undefined) {
    throw new UsageError(`${where}: "${key}" has no value; give one, or leave the key out`);
  }
  if (!option.required && (!option.optional || typeof value === "boolean")) {
    if (typeof value !== "boolean")
      throw new UsageError(`${where}: "${key}" is true or false, not ${JSON.stringify(value)}`);
    const isOn = option.negate && !normal(key).startsWith("no-") ? !value : value;
    return isOn ? [long] : [];
  }
  const texts = flagTexts(value, repeats(option, value));
  for (const text of texts) checkValue(option, text, `${where}: ${key}`);
  if (texts.length > 1 && !repeats(option, texts)) {
    throw new UsageError(`${where}: "${key}" takes one value, not ${texts.length}`);
  }
  return texts.map((text) => `${long}=${text}`);
}

/** @throws UsageError for a text that the flag does not take */
function checkValue(option: Option, text: string, where: string): void {
  const { argChoices, parseArg } = option;
  if (argChoices && !argChoices.includes(text)) {
    throw new UsageError(`${where}: "${text}" is none of ${argChoices.join(", ")}`);
  }
  try {
    parseArg?.(text, undefined);
  } catch (error) {
    throw new UsageError(`${where}: "${text}" is invalid. ${error instanceof Error ? error.message : error}`);
  }
}

function argumentText({ key, value }: ConfigEntry, where: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw new UsageError(`${where}: "${key}" must be a text`);
}

/** The words without `--config` and its file. */
function withoutConfig(typed: readonly string[]): string[] {
  return typed.filter(
    (word, i) => word !== "--config" && typed[i - 1] !== "--config" && !word.startsWith("--config="),
  );
}

/** The name with the fewest letters to change. */
function nearest(name: string, names: readonly string[]): string {
  const wanted = normal(name);
  return names.reduce(
    (best, one) => (distance(one, wanted) < distance(best, wanted) ? one : best),
    names[0] ?? "",
  );
}

/** Levenshtein's distance: letters inserted, removed or replaced. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The values of the flags in a list of words, as they were typed; `true` for a flag without a value. */
export function typedValues(
  declare: (command: Command) => void,
  words: readonly string[],
): {
  readonly command: Command;
  readonly values: ReadonlyMap<Option, readonly string[] | true>;
  readonly operands: readonly string[];
} {
  const { command } = quietCommand(declare);
  const values = new Map<Option, string[] | true>();
  for (const option of command.options) {
    command.on(`option:${option.name()}`, (text: string | null | undefined) => {
      const before = values.get(option);
      if (text === null || text === undefined) values.set(option, true);
      else values.set(option, [...(Array.isArray(before) ? before : []), text]);
    });
  }
  const { operands } = command.parseOptions([...words]);
  return { command, values, operands };
}

/**
 * The words of a command line with some flags replaced.
 * @param changes - new values by commander's names; undefined takes a flag out
 */
export function withFlags(
  declare: (command: Command) => void,
  words: readonly string[],
  changes: Readonly<Record<string, readonly string[] | undefined>>,
): string[] {
  const { command, values, operands } = typedValues(declare, words);
  const all = new Map(values);
  for (const [name, texts] of Object.entries(changes)) {
    const option = command.options.find((one) => one.attributeName() === name && !one.negate);
    if (!option) throw new TypeError(`no option ${name}`);
    all.delete(option);
    if (texts) all.set(option, texts);
  }
  const flags = [...all].flatMap(([{ long = "" }, texts]) =>
    texts === true ? [long] : texts.map((text) => `${long}=${text}`),
  );
  return [...operands, ...flags];
}
