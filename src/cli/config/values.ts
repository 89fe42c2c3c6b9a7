import { isDeepStrictEqual } from "node:util";
import type { Option } from "commander";
import { isRecord } from "../../json.ts";

/**
 * A value of a configuration file as the texts that a flag takes on the command line; several for a flag that is repeated.
 * A list is a repeated flag, or a list with commas where the flag takes one. What has options can be nested:
 * `optimizer: { adamw: { beta1: 0.8 } }`, `dim: { length: 16 }`, `group: [{ pattern: bias, weight-decay: 0 }]`.
 * @param repeats - whether the flag can be repeated
 */
export function flagTexts(value: unknown, repeats: boolean): string[] {
  if (Array.isArray(value)) {
    const texts = value.flatMap((one) => flagTexts(one, repeats));
    return repeats ? texts : [texts.join(",")];
  }
  if (!isRecord(value)) return [`${value}`];
  for (const key of ["name", "pattern"]) {
    const { [key]: name, ...options } = value;
    if (name !== undefined) return [withOptions(`${name}`, options)];
  }
  const entries = Object.entries(value);
  if (entries.every(([, one]) => one === null || isRecord(one))) {
    return entries.map(([name, options]) => withOptions(name, isRecord(options) ? options : {}));
  }
  const pairs = entries.map(([key, one]) => (one === true ? key : pair(key, one)));
  return repeats ? pairs : [pairs.join(",")];
}

type Options = Readonly<Record<string, unknown>>;

const withOptions = (name: string, options: Options): string => {
  const pairs = Object.entries(options).map(([key, value]) => pair(key, value));
  return pairs.length === 0 ? name : `${name}:${pairs.join(",")}`;
};

/** `key=value`; a list has slashes, and a value with a comma stands in quotes. */
function pair(key: string, value: unknown): string {
  const text = Array.isArray(value) ? value.join("/") : `${value}`;
  return `${key}=${text.includes(",") ? `'${text}'` : text}`;
}

/** Whether a flag takes several values one after the other: then its value depends on the one before. */
export function repeats({ parseArg }: Option, value: unknown): boolean {
  if (parseArg === undefined) return false;
  const texts = (Array.isArray(value) ? value : [value]).flatMap((one) => flagTexts(one, true));
  const [first = "", second = `${first}`] = texts;
  try {
    const before = parseArg(first, undefined);
    return !isDeepStrictEqual(parseArg(second, before), parseArg(second, undefined));
  } catch {
    return false;
  }
}
