import { UsageError } from "./errors.ts";

/**
 * Reads a name and, after a colon, its options: `som:weight=0.1,include='^conv'`. A value with commas stands in quotes.
 * @throws UsageError for text that is no list of `key=value`, or gives a key twice
 */
export function nameAndOptions(text: string): {
  readonly name: string;
  readonly options: ReadonlyMap<string, string>;
} {
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
