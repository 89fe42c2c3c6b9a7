import { checkText } from "../check-arguments.ts";
import { UsageError } from "../errors.ts";
import { binaryCrossEntropy, binaryFocal } from "./binary.ts";
import { causalLm } from "./causal-lm.ts";
import { contrastive, infoNce } from "./contrastive.ts";
import { cosine } from "./cosine.ts";
import { cosineSimilarity } from "./cosine-similarity.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { distillation } from "./distillation.ts";
import { huber, l1, meanSquaredError, smoothL1 } from "./elementwise.ts";
import { klDivergence } from "./kl-divergence.ts";
import { maskedLm } from "./masked-lm.ts";
import { type Objective, type ObjectiveOptions, withDefaults } from "./objective.ts";
import { triplet } from "./triplet.ts";

// Each objective checks its own options.
type ObjectiveMaker = (options?: ObjectiveOptions) => Objective;

const objectives: ReadonlyMap<string, ObjectiveMaker> = new Map(
  (
    [
      ...[crossEntropy, meanSquaredError, l1, binaryCrossEntropy, binaryFocal, huber, smoothL1],
      ...[cosine, klDivergence, distillation, causalLm, maskedLm],
      ...[contrastive, infoNce, triplet, cosineSimilarity],
    ] as ObjectiveMaker[]
  ).map((make) => [make().name, make]),
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
  checkText("the name of an objective", name);
  const make = objectives.get(name);
  if (!make) throw new UsageError(`there is no objective "${name}"; there are ${objectiveNames.join(", ")}`);
  return make(withDefaults(name, make().options, options));
}
