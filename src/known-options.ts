import { UsageError } from "./errors.ts";
import { isObject, whatIs } from "./what-is.ts";

/** Kinds of options that are checked by their kind alone, and what they take. */
interface Kinds {
  readonly pattern: RegExp;
  readonly list: readonly unknown[];
  readonly text: string;
  readonly flag: boolean;
  readonly function: (...given: never[]) => unknown;
  readonly lengths: Readonly<Record<string, number>>;
  readonly signal: AbortSignal;
}

/** The kind of an option; true where a check of its own says what it takes, as for numbers and choices. */
export type OptionKind = keyof Kinds | true;

type Fitting<Value> = {
  [Kind in keyof Kinds]: [Value, keyof Kinds[Kind]] extends [Kinds[Kind], keyof Value] ? Kind : never;
}[keyof Kinds];
type IsChoice<Value> = [Value] extends [string] ? (string extends Value ? false : true) : false;
type KindOf<Value> =
  IsChoice<Value> extends true ? true : [Fitting<Value>] extends [never] ? true : Fitting<Value>;

/** The names of all options of a type, with their kinds: a table that lacks one, or has one too many, does not compile. */
export type OptionNames<O> = { readonly [Name in keyof O]-?: KindOf<Exclude<O[Name], undefined>> };

/** What a value is called by the realm that made it: `instanceof` knows only those of its own. */
export const tagOf = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1);

/** Whether a value is a regular expression, also one of another realm. */
export const isPattern = (value: unknown): value is RegExp => tagOf(value) === "RegExp";

/** @throws UsageError for what is no regular expression, such as its text */
export function checkPattern(option: string, value: unknown): void {
  if (isPattern(value)) return;
  throw new UsageError(`${option} takes a regular expression, as in /^fc1$/, not ${whatIs(value)}`);
}

/** Whether the entries of a value are read by name; not those of a list, of a Map and of a promise. */
const hasNames = (given: unknown): boolean =>
  isObject(given) && !(Symbol.iterator in given) && !("then" in given);

/** @throws UsageError for what cannot hold options: their entries would all be passed over */
export function checkOptions(taker: string, given: unknown): void {
  if (hasNames(given)) return;
  throw new UsageError(
    `${taker} takes its options as an object, as in { name: value }, not ${whatIs(given)}`,
  );
}

const refuse = (option: string, wanted: string, value: unknown): never => {
  throw new UsageError(`${option} ${wanted}, not ${whatIs(value)}`);
};

/** Checks of the value of an option, by what it takes. */
const kinds: { readonly [Kind in keyof Kinds]: (option: string, value: unknown) => unknown } = {
  pattern: checkPattern,
  lengths: (option, value) =>
    hasNames(value) || refuse(option, "takes lengths by name, as in { x: 8 }", value),
  list: (option, value) => Array.isArray(value) || refuse(option, "is a list, as in [ … ]", value),
  text: (option, value) => typeof value === "string" || refuse(option, "is a text", value),
  flag: (option, value) => typeof value === "boolean" || refuse(option, "is true or false", value),
  function: (option, value) => typeof value === "function" || refuse(option, "takes a function", value),
  signal: (option, value) =>
    (isObject(value) && "aborted" in value) ||
    refuse(option, "takes an AbortSignal, as in controller.signal", value),
};

/**
 * Refuses an option that nobody reads, such as one whose name is misspelt, a value of another kind, and what cannot hold options.
 * @param taker - whose options they are, for the message: `Trainer.create`
 * @throws UsageError that names the option, and the one that is probably meant
 */
export function checkKnown(taker: string, given: object, names: Readonly<Record<string, OptionKind>>): void {
  checkOptions(taker, given);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const kind = Object.hasOwn(names, name) ? names[name] : undefined;
    if (kind === undefined) throw unknownOption(taker, name, Object.keys(names));
    if (kind !== true) kinds[kind](name, value);
  }
}

function unknownOption(taker: string, name: string, known: readonly string[]): UsageError {
  const plain = (text: string) => text.toLowerCase().replace(/[-_]/g, "");
  const meant = known.find((one) => plain(one) === plain(name));
  const few = known.length <= 12 ? `; it has ${known.join(", ") || "none"}` : "";
  return new UsageError(`${taker} has no option "${name}"${meant === undefined ? few : `: write ${meant}`}`);
}

/** @throws UsageError for a value that is not among the choices of an option */
export function checkChoice(option: string, value: unknown, choices: readonly unknown[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw new UsageError(
    `${option} takes ${choices.join(" or ")}, not ${typeof value === "string" ? `"${value}"` : whatIs(value)}`,
  );
}
