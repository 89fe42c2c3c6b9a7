import { UsageError } from "../errors.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { binaryCrossEntropy, l1, meanSquaredError } from "./elementwise.ts";
import type { Objective } from "./objective.ts";

const objectives: ReadonlyMap<string, () => Objective> = new Map(
  [crossEntropy, meanSquaredError, l1, binaryCrossEntropy].map((make) => [make().name, () => make()]),
);

/** Names of the objectives, as `--objective` takes them. */
export const objectiveNames: readonly string[] = [...objectives.keys()];

/** The objective of that name, with its default options. @throws UsageError when there is none. */
export function objectiveNamed(name: string): Objective {
  const make = objectives.get(name);
  if (!make) throw new UsageError(`there is no objective "${name}"; there are ${objectiveNames.join(", ")}`);
  return make();
}
