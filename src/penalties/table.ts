import { UsageError } from "../errors.ts";
import type { Penalty, PenaltyOptions } from "./penalty.ts";
import { som } from "./som.ts";

/** Every penalty that has a name on the command line. */
const factories = [som] as const;

/** Names of the penalties of this package. */
export const penaltyNames: readonly string[] = factories.map(({ definition }) => definition.name);

/**
 * The penalty of that name. Numbers and switches may be given as text, as a command line or a file's metadata has them.
 * @throws UsageError for an unknown name or option, or a value that the option cannot take.
 *
 * @example
 * penaltyNamed("som", { gamma: "5", reduction: "sum" });
 */
export function penaltyNamed(name: string, options: PenaltyOptions = {}): Penalty {
  const factory = factories.find(({ definition }) => definition.name === name);
  if (!factory) throw new UsageError(`there is no penalty "${name}"; there is ${penaltyNames.join(", ")}`);
  const defaults: PenaltyOptions = factory.definition.defaults;
  const parsed = Object.entries(options).map(
    ([key, value]) => [key, fromText(value, typeof defaults[key])] as const,
  );
  return factory(Object.fromEntries(parsed));
}

/** A text as the type of its option; what does not read as one stays a text, which the option then refuses. */
function fromText(value: number | string | boolean, type: string): number | string | boolean {
  if (typeof value !== "string") return value;
  if (type === "number" && value.trim() !== "" && Number.isFinite(Number(value))) return Number(value);
  if (type === "boolean" && (value === "true" || value === "false")) return value === "true";
  return value;
}
