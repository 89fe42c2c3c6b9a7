import { Command, InvalidArgumentError, type Option } from "commander";
import { anyNumber, count, countFromZero, decimal, type NumberRange, properShare } from "../numbers.ts";
import { regularExpression } from "../regular-expression.ts";

export { given } from "../given.ts";

/** Reads a number within a range; the ranges are those that the library checks. */
export const numberIn =
  (range: NumberRange) =>
  (text: string): number => {
    const value = decimal(text);
    if (!range.holds(value)) throw new InvalidArgumentError(`Give ${range.words}.`);
    return value;
  };

export const number = numberIn(anyNumber);

/** An integer of 0 or more. */
export const wholeNumber = numberIn(countFromZero);

/** An integer of 1 or more. */
export const positiveInteger = numberIn(count);

/** A fraction above 0 and below 1. */
export const fraction = numberIn(properShare);

/** The command `train` with what `declare` gives it, to read words again: it ends no process and prints nothing. */
export function quietCommand<Declared>(declare: (command: Command) => Declared): {
  readonly command: Command;
  readonly declared: Declared;
} {
  const command = new Command("train").exitOverride().configureOutput({ outputError: () => {} });
  const declared = declare(command);
  command.option("--force").option("--quiet").option("--debug");
  return { command, declared };
}

/** The options of a command that were typed, of those with these names. */
export const typedOptions = (command: Command, names: readonly string[]): Option[] =>
  command.options.filter((option) => {
    const name = option.attributeName();
    return names.includes(name) && command.getOptionValueSource(name) === "cli";
  });

export function pattern(text: string): RegExp {
  try {
    return regularExpression(text);
  } catch {
    throw new InvalidArgumentError("It is not a regular expression, or it is too large.");
  }
}

/** A pattern that matches if either of two patterns does. */
export const either = (a: RegExp | undefined, b: RegExp): RegExp =>
  a ? pattern(`(?:${a.source})|(?:${b.source})`) : b;

/** A regular expression of a repeatable option; the patterns of all its uses are joined by "or". */
export const patterns = (text: string, before: RegExp | undefined): RegExp => either(before, pattern(text));

/** Collects the values of a repeatable option. */
export function repeated<T>(
  parse: (text: string) => T,
): (text: string, before: readonly T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), parse(text)];
}
