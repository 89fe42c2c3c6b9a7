import { balancedClassWeights } from "../data/class-weights.ts";
import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import { type CrossEntropyOptions, crossEntropy } from "../losses/cross-entropy.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { isObjective } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import type { LossOptions } from "../programs/options.ts";

/**
 * The options of a run with class weights by how rare each class is in its training data.
 * @throws UsageError for another loss than the cross-entropy, DataError for labels that are no classes
 */
export function withBalancedClasses<O extends LossOptions>(model: Model, options: O, data: Dataset): O {
  const { objective, output } = options;
  if (!objective || !isObjective(objective) || objective.name !== "cross-entropy") {
    throw new UsageError("--class-weights balanced belongs to --objective cross-entropy");
  }
  const { declared } = choosePrediction(graphOf(model), objective, output).value;
  // Free axes count as 1: their lengths decide on the class axis only with the option labelPlaces.
  const shape = declared?.map((dim) => (typeof dim === "number" ? dim : 1));
  const classes = shape && declared?.[objective.classAxis?.(shape) ?? 1];
  const weights = balancedClassWeights(data, typeof classes === "number" ? classes : undefined);
  return {
    ...options,
    objective: crossEntropy({ ...(objective.options as CrossEntropyOptions), classWeights: weights }),
  };
}
