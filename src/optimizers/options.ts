import { UsageError } from "../errors.ts";
import { anyNumber, checkNumber, type NumberRange } from "../numbers.ts";

/**
 * The options given to an optimizer, the defaults for the rest.
 * @throws UsageError for an option that the optimizer does not have, or a value that it cannot take.
 */
export function optimizerOptions<O extends Record<string, number | boolean>>(
  optimizer: string,
  defaults: O,
  given: Partial<O>,
  ranges: { readonly [K in keyof O]?: NumberRange },
): O {
  const options: Record<string, number | boolean> = { ...defaults };
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaults, name)) {
      throw new UsageError(
        `the optimizer ${optimizer} has no option "${name}"; it has ${Object.keys(defaults).join(", ")}`,
      );
    }
    if (value === undefined) continue;
    const option = `option ${name} of the optimizer ${optimizer}`;
    if (typeof value !== typeof defaults[name]) {
      throw new UsageError(`${option} must be a ${typeof defaults[name]}, not ${String(value)}`);
    }
    if (typeof value === "number") checkNumber(option, value, ranges[name] ?? anyNumber);
    options[name] = value;
  }
  return options as O;
}
