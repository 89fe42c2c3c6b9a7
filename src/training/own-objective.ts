import { type Typed, typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import { crossEntropy } from "../objectives/cross-entropy.ts";
import type { Objective } from "../objectives/objective.ts";

/** What an objective finds of a model that holds its loss. */
export interface OwnObjective {
  readonly objective: Objective;
  /** Scores that it reads, `[batch, classes, …]`. */
  readonly prediction: Typed;
  /** The model's loss is the objective's mean and nothing else, so that it can be counted sample by sample. */
  readonly isLoss: boolean;
}

/**
 * The cross-entropy in a model's own loss, where it has exactly one and the class labels come straight from an input.
 * @param loss - a scalar of a graph whose shapes are known
 * @returns undefined for other losses, and where a class is ignored
 */
export function ownObjective(loss: Value): OwnObjective | undefined {
  const [node, ...others] = [...ancestorsOf([loss])].filter(({ op }) => op === "SoftmaxCrossEntropyLoss");
  // PyTorch's exporter writes ignore_index −100, which is no class.
  if (!node || others.length > 0 || node.int("ignore_index", -1) >= 0) return undefined;
  const [scores, labels, weights] = node.inputs;
  if (!scores || !labels || !isFed(labels)) return undefined;
  const isMean = node.string("reduction", "mean") === "mean" && !weights;
  return {
    objective: crossEntropy(),
    prediction: typed(scores),
    isLoss: isMean && loss === node.outputs[0],
  };
}

/** Whether a value is an input of the graph, as it comes or in another type. */
function isFed({ producer, initializer }: Value): boolean {
  const [source] = producer?.op === "Cast" ? producer.inputs : [];
  if (source) return isFed(source);
  return !producer && !initializer;
}
