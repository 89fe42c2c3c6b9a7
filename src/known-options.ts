import { UsageError } from "./errors.ts";
import { isObject, whatIs } from "./what-is.ts";

/**
 * The names of all options of a type: a list that lacks one, or has one too many, does not compile. Those that take a pattern
 * of names are marked.
 */
export type OptionNames<O> = {
  readonly [K in keyof O]-?: Exclude<O[K], undefined> extends RegExp ? "pattern" : true;
};

/** What a value is called by the realm that made it: `instanceof` knows only those of its own. */
export const tagOf = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1);

/** Whether a value is a regular expression, also one of another realm. */
export const isPattern = (value: unknown): value is RegExp => tagOf(value) === "RegExp";

/** @throws UsageError for what is no regular expression, such as its text */
export function checkPattern(option: string, value: unknown): void {
  if (isPattern(value)) return;
  throw new UsageError(`${option} takes a regular expression, as in /^fc1$/, not ${whatIs(value)}`);
}

/** @throws UsageError for what cannot hold options: their entries would all be passed over */
export function checkOptions(taker: string, given: unknown): void {
  // Neither are the entries of a list, of a Map and of a promise.
  if (isObject(given) && !(Symbol.iterator in given) && !("then" in given)) return;
  throw new UsageError(
    `${taker} takes its options as an object, as in { name: value }, not ${whatIs(given)}`,
  );
}

/** Options that are lists, and those that are texts, whatever takes them. */
const lists = new Set(["penalties", "groups", "buckets", "metrics", "seeds", "callbacks", "backends"]);
const texts = new Set([
  "loss",
  "output",
  "prediction",
  "backend",
  "monitor",
  "checkpoint",
  "precision",
  "batchNorm",
]);

/**
 * Refuses an option that nobody reads, such as one whose name is misspelt, and what cannot hold options.
 * @param taker - whose options they are, for the message: `Trainer.create`
 * @throws UsageError that names the option, and the one that is probably meant
 */
export function checkKnown(
  taker: string,
  given: object,
  names: Readonly<Record<string, true | "pattern">>,
): void {
  checkOptions(taker, given);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (Object.hasOwn(names, name)) {
      if (names[name] === "pattern") checkPattern(name, value);
      if (name === "signal" && !(isObject(value) && "aborted" in value)) {
        throw new UsageError(`signal takes an AbortSignal, as in controller.signal, not ${whatIs(value)}`);
      }
      if (lists.has(name) && !Array.isArray(value)) {
        throw new UsageError(`${name} is a list, as in [ … ], not ${whatIs(value)}`);
      }
      if (texts.has(name) && typeof value !== "string") {
        throw new UsageError(`${name} is a text, not ${whatIs(value)}`);
      }
      if (name === "dims") checkOptions("dims, lengths by name,", value);
      if (/^on[A-Z]/.test(name) && typeof value !== "function") {
        throw new UsageError(`${name} takes a function, not ${whatIs(value)}`);
      }
      continue;
    }
    const plain = (text: string) => text.toLowerCase().replace(/[-_]/g, "");
    const meant = Object.keys(names).find((known) => plain(known) === plain(name));
    const few = Object.keys(names).length <= 12 ? `; it has ${Object.keys(names).join(", ")}` : "";
    throw new UsageError(`${taker} has no option "${name}"${meant === undefined ? few : `: write ${meant}`}`);
  }
}

/** @throws UsageError for a value that is not among the choices of an option */
export function checkChoice(option: string, value: unknown, choices: readonly unknown[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw new UsageError(
    `${option} takes ${choices.join(" or ")}, not ${typeof value === "string" ? `"${value}"` : whatIs(value)}`,
  );
}
