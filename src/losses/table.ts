import { UsageError } from "../errors.ts";
import { binaryCrossEntropy, binaryFocal } from "./binary.ts";
import { cosine } from "./cosine.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { distillation } from "./distillation.ts";
import { huber, l1, meanSquaredError, smoothL1 } from "./elementwise.ts";
import { type Objective, type ObjectiveOptions, withDefaults } from "./objective.ts";

// Each objective checks its own options.
type ObjectiveMaker = (options?: ObjectiveOptions) => Objective;

/** The losses: how each is made, and one line about it. */
const entries: readonly (readonly [make: ObjectiveMaker, summary: string])[] = (
  [
    [crossEntropy, "classes: softmax of the scores against class labels or probabilities, as torch's"],
    [meanSquaredError, "numbers: mean of squared differences"],
    [l1, "numbers: mean of absolute differences"],
    [binaryCrossEntropy, "labels from 0 to 1, each number on its own (several labels a sample): sigmoid"],
    [binaryFocal, "the same, with examples that are classified well receding (arXiv 1708.02002)"],
    [huber, "numbers: squared up to delta, linear above, as torch's HuberLoss"],
    [smoothL1, "numbers: squared up to beta, linear above, as torch's SmoothL1Loss"],
    [cosine, "embeddings: 1 − the cosine between prediction and label"],
    [
      distillation,
      "a teacher's scores as labels: divergence of the softened probabilities (arXiv 1503.02531)",
    ],
  ] as const
).map(([make, summary]) => [make as ObjectiveMaker, summary]);

const objectives: ReadonlyMap<string, ObjectiveMaker> = new Map(entries.map(([make]) => [make().name, make]));

/** One line about each loss, by name, for help and documents. */
export const objectiveSummaries: ReadonlyMap<string, string> = new Map(
  entries.map(([make, summary]) => [make().name, summary]),
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
