import { hyphened } from "../name-and-options.ts";
import type { ObjectiveOptions } from "./objective.ts";
import { objectiveNamed } from "./table.ts";
import { type AnyObjective, isCombined } from "./terms.ts";

/** A loss as the command line writes it, with the options that are not the usual ones: `huber:delta=0.5`. */
export function objectiveText(objective: AnyObjective): string {
  if (isCombined(objective)) return objective.terms.map((term) => objectiveText(term.objective)).join(" + ");
  if (!("options" in objective)) return objective.name;
  const { name, options } = objective as { readonly name: string; readonly options: ObjectiveOptions };
  const usual = objectiveNamed(name).options;
  const own = Object.entries(options).filter(([option, value]) => value !== usual[option]);
  const texts = own.map(([option, value]) => {
    const text = String(value).length > 40 ? "…" : String(value);
    return `${hyphened(option)}=${/,/.test(text) ? `'${text}'` : text}`;
  });
  return texts.length === 0 ? name : `${name}:${texts.join(",")}`;
}
