import { InvalidArgumentError } from "commander";

/** A finite number. */
export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("Give a number.");
  return value;
}

/** A whole number of 0 or more. */
export function wholeNumber(text: string): number {
  const value = number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError("Give a whole number, 0 or more.");
  return value;
}

/** A whole number of 1 or more. */
export function positiveInteger(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError("Give a whole number, 1 or more.");
  return value;
}

/** A share above 0 and below 1. */
export function fraction(text: string): number {
  const value = number(text);
  if (value <= 0 || value >= 1) throw new InvalidArgumentError("Give a number above 0 and below 1.");
  return value;
}

/** A regular expression. */
export function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new InvalidArgumentError("It is not a regular expression.");
  }
}

/** A pattern that matches what either of two matches. */
export const either = (a: RegExp | undefined, b: RegExp): RegExp =>
  a ? new RegExp(`(?:${a.source})|(?:${b.source})`) : b;

/** A regular expression of an option that may be given several times: each adds what it matches. */
export const patterns = (text: string, before: RegExp | undefined): RegExp => either(before, pattern(text));

/** Collects an option that may be given several times. */
export function repeated<T>(
  parse: (text: string) => T,
): (text: string, before: readonly T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), parse(text)];
}

/** The fields of `values` that are not undefined: an option that was not given is left to its default. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
