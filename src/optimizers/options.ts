import { UsageError } from "../errors.ts";
import { isPattern } from "../known-options.ts";
import { anyNumber, checkNumber, type NumberRange } from "../numbers.ts";
import { regularExpression } from "../regular-expression.ts";
import type { OptimizerOptions } from "./transformation.ts";

/** The numbers that each option accepts, by name; an option without an entry accepts any number. */
export type OptionRanges<O> = { readonly [K in keyof O]?: NumberRange };

/** Options as a caller gives them: an option that is kept as text may be a regular expression. */
export type Given<O> = {
  readonly [K in keyof O]?: O[K] extends string ? string | RegExp : Chosen<O>[K];
};

/** The types of options, taken from their defaults: `boolean` if a default is `false`. */
export type Chosen<O> = { readonly [K in keyof O]: O[K] extends boolean ? boolean : O[K] };

/**
 * The options given to an optimizer or a transformation, with defaults for the others.
 * @param of - the owner of the options, for messages: `optimizer adam`
 * @throws UsageError for an option that it does not have, or an invalid value.
 */
export function checkedOptions<O extends OptimizerOptions>(
  of: string,
  defaults: O,
  given: Given<O>,
  ranges: OptionRanges<O>,
): Chosen<O> {
  const options: Record<string, number | boolean | string> = { ...defaults };
  for (const [name, raw] of Object.entries(given)) {
    if (!Object.hasOwn(defaults, name)) {
      const names = Object.keys(defaults).join(", ") || "none";
      const isRate = /^(lr|learning.?rate)$/i.test(name);
      throw new UsageError(
        `the ${of} has no option "${name}"${isRate ? ": the rate is given beside it, with --lr" : `; it has ${names}`}`,
      );
    }
    if (raw === undefined) continue;
    const value: unknown = isPattern(raw) ? String(raw) : raw;
    const option = `option ${name} of the ${of}`;
    if (typeof value !== typeof defaults[name]) {
      throw new UsageError(`${option} must be a ${typeof defaults[name]}, not ${String(value)}`);
    }
    if (typeof value === "number") checkNumber(option, value, ranges[name] ?? anyNumber);
    options[name] = value as string;
  }
  return options as Chosen<O>;
}

/** A regular expression that an option keeps as `/source/flags`, or as its source alone. @throws UsageError for another text */
export function patternOf(text: string): RegExp {
  const [, source = text, flags = ""] = /^\/(.*)\/([a-z]*)$/s.exec(text) ?? [];
  try {
    return regularExpression(source, flags);
  } catch {
    throw new UsageError(`"${text}" is no regular expression`);
  }
}
