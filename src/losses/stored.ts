import { isMadeHere } from "../made-here.ts";
import type { ObjectiveOptions } from "./objective.ts";
import { objectiveNamed } from "./table.ts";
import { type AnyObjective, combined, isCombined, isObjective, type LossTerm } from "./terms.ts";

/** A loss as a checkpoint keeps it: its name and all its options. */
interface StoredLoss {
  readonly name: string;
  readonly options: ObjectiveOptions;
}

/** An objective as a checkpoint keeps it. */
export interface StoredObjective extends StoredLoss {
  readonly terms?: readonly (Omit<LossTerm, "objective"> & { readonly objective: StoredLoss })[];
}

const storedLoss = (objective: LossTerm["objective"]): StoredLoss => ({
  name: objective.name,
  options: isObjective(objective) ? (objective.options ?? {}) : {},
});

/** An objective in a form that JSON holds. A loss of the user's own is stored by its name alone. */
export function storedObjective(objective: AnyObjective): StoredObjective {
  if (!isCombined(objective)) return storedLoss(objective);
  const terms = objective.terms.map((term) => ({ ...term, objective: storedLoss(term.objective) }));
  return { name: objective.name, options: {}, terms };
}

/** Whether {@link objectiveFromStored} can make an objective again. */
export const isStorable = (objective: AnyObjective): boolean =>
  isCombined(objective) ? objective.terms.every((term) => isMadeHere(term.objective)) : isMadeHere(objective);

/** The objective of a checkpoint. @throws UsageError for a name or option that this version does not have */
export const objectiveFromStored = ({ name, options, terms }: StoredObjective): AnyObjective =>
  terms
    ? combined(
        terms.map((term) => ({
          ...term,
          objective: objectiveNamed(term.objective.name, term.objective.options),
        })),
      )
    : objectiveNamed(name, options);
