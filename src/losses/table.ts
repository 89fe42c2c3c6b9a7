import { UsageError } from "../errors.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { binaryCrossEntropy, l1, meanSquaredError } from "./elementwise.ts";
import { type Objective, type ObjectiveOptions, withDefaults } from "./objective.ts";

// Each objective checks its own options.
type ObjectiveMaker = (options?: ObjectiveOptions) => Objective;

const objectives: ReadonlyMap<string, ObjectiveMaker> = new Map(
  ([crossEntropy, meanSquaredError, l1, binaryCrossEntropy] as ObjectiveMaker[]).map((make) => [
    make().name,
    make,
  ]),
);

/** Names of the losses, as `--objective` takes them. */
export const objectiveNames: readonly string[] = [...objectives.keys()];

/**
 * The objective with the given name; missing options have their defaults.
 * @throws UsageError for an unknown name or option, or an invalid value
 *
 * @example
 * objectiveNamed("cross-entropy", { labelSmoothing: 0.1 });
 */
export function objectiveNamed(name: string, options: ObjectiveOptions = {}): Objective {
  const make = objectives.get(name);
  if (!make) throw new UsageError(`there is no objective "${name}"; there are ${objectiveNames.join(", ")}`);
  return make(withDefaults(name, make().options, options));
}
