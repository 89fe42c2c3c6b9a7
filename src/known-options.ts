import { UsageError } from "./errors.ts";

/** The names of all options of a type: a list that lacks one, or has one too many, does not compile. */
export type OptionNames<O> = { readonly [K in keyof O]-?: true };

/**
 * Refuses an option that nobody reads, such as one whose name is misspelt.
 * @param taker - whose options they are, for the message: `Trainer.create`
 * @throws UsageError that names the option, and the one that is probably meant
 */
export function checkKnown(taker: string, given: object, names: Readonly<Record<string, true>>): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || Object.hasOwn(names, name)) continue;
    const plain = (text: string) => text.toLowerCase().replace(/[-_]/g, "");
    const meant = Object.keys(names).find((known) => plain(known) === plain(name));
    const few = Object.keys(names).length <= 12 ? `; it has ${Object.keys(names).join(", ")}` : "";
    throw new UsageError(`${taker} has no option "${name}"${meant === undefined ? few : `: write ${meant}`}`);
  }
}

/** @throws UsageError for a value that is not among the choices of an option */
export function checkChoice(option: string, value: unknown, choices: readonly unknown[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw new UsageError(`${option} takes ${choices.join(" or ")}, not ${JSON.stringify(value)}`);
}
