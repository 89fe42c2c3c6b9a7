import { UsageError } from "./errors.ts";
import { decimal } from "./numbers.ts";
import { whatIs } from "./what-is.ts";

/**
 * Reads a name and, after a colon, its options: `som:weight=0.1,include='^conv'`. A value with commas stands in quotes.
 * @throws UsageError for text that is no list of `key=value`, or gives a key twice
 */
export function nameAndOptions(text: string): {
  readonly name: string;
  readonly options: ReadonlyMap<string, string>;
} {
  if (typeof text !== "string") throw new UsageError(`a name with options is a text, not ${whatIs(text)}`);
  const colon = text.indexOf(":");
  const options = new Map<string, string>();
  for (const part of colon < 0 ? [] : splitAtCommas(text.slice(colon + 1), text)) {
    const equals = part.indexOf("=");
    const key = equals < 0 ? part : part.slice(0, equals);
    if (equals < 0) throw new UsageError(`"${part}" in "${text}" is no option: write key=value`);
    if (options.has(key)) throw new UsageError(`"${text}" gives ${key} twice; give it once`);
    options.set(key, unquoted(part.slice(equals + 1)));
  }
  return { name: colon < 0 ? text : text.slice(0, colon), options };
}

/** Splits at commas outside quotes. */
function splitAtCommas(text: string, whole: string): string[] {
  const parts = text.match(/(?:'[^']*'|"[^"]*"|[^,'"])+/g) ?? [""];
  if (parts.join(",") !== text) {
    throw new UsageError(
      `"${whole}" cannot be read: write name:key=value,key=value, values with commas in quotes`,
    );
  }
  return parts;
}

const unquoted = (value: string): string => /^(['"])(.*)\1$/.exec(value)?.[2] ?? value;

/**
 * Reads options from texts, each in the type of its default. Names may be written with hyphens. A text that does not fit stays a text, so that the
 * function that takes the option refuses it.
 */
export const readOptions = (
  options: ReadonlyMap<string, string>,
  defaults: Readonly<Record<string, OptionValue | undefined>>,
): Record<string, OptionValue> =>
  Object.fromEntries(
    [...options].map(([key, text]) => {
      const option = withoutHyphens(key);
      return [option, readValue(text, defaults[option])];
    }),
  );

type OptionValue = number | boolean | string;

function readValue(text: string, standard: OptionValue | undefined): OptionValue {
  if (typeof standard === "boolean" && /^(true|false)$/.test(text)) return text === "true";
  const number = decimal(text);
  // "none" is the default of options that take a number.
  const takesNumber = typeof standard === "number" || standard === "none";
  return takesNumber && !Number.isNaN(number) ? number : text;
}

/** `weight-decay` as `weightDecay`. */
export const withoutHyphens = (text: string): string =>
  text.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** `weightDecay` as `weight-decay`. */
export const hyphened = (option: string): string =>
  option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
