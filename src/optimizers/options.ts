import { UsageError } from "../errors.ts";

/** Says what is wrong with the value of an option, as the end of "must be …"; undefined when nothing is. */
export type OptionCheck = (value: number) => string | undefined;

/** A number of 0 or more. */
export const notNegative: OptionCheck = (value) => (value >= 0 ? undefined : "0 or more");

/** A number above 0. */
export const positive: OptionCheck = (value) => (value > 0 ? undefined : "above 0");

/** A number from 0 to 1. */
export const fraction: OptionCheck = (value) => (value >= 0 && value <= 1 ? undefined : "from 0 to 1");

/** The share of the past that an exponential average keeps. */
export const decayRate: OptionCheck = (value) =>
  value >= 0 && value < 1 ? undefined : "at least 0 and below 1";

/**
 * The options given to an optimizer, the defaults for the rest.
 * @throws UsageError for an option that the optimizer does not have, or a value that it cannot take.
 */
export function optimizerOptions<O extends Record<string, number | boolean>>(
  optimizer: string,
  defaults: O,
  given: Partial<O>,
  checks: { readonly [K in keyof O]?: OptionCheck },
): O {
  const options: Record<string, number | boolean> = { ...defaults };
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaults, name)) {
      throw new UsageError(
        `the optimizer ${optimizer} has no option "${name}"; it has ${Object.keys(defaults).join(", ")}`,
      );
    }
    if (value === undefined) continue;
    const refuse = (expected: string) =>
      new UsageError(
        `option ${name} of the optimizer ${optimizer} must be ${expected}, not ${String(value)}`,
      );
    if (typeof value !== typeof defaults[name]) throw refuse(`a ${typeof defaults[name]}`);
    if (typeof value === "number") {
      if (!Number.isFinite(value)) throw refuse("a finite number");
      const problem = checks[name]?.(value);
      if (problem) throw refuse(problem);
    }
    options[name] = value;
  }
  return options as O;
}
