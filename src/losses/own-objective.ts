import { type Typed, typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import { crossEntropy } from "./cross-entropy.ts";
import type { Objective } from "./objective.ts";

/** The objective that stands in a model's own loss, and what it reads. */
export interface OwnObjective {
  readonly objective: Objective;
  /** Scores that it reads, `[batch, classes, …]`. */
  readonly prediction: Typed;
  /** The input that the labels come from. */
  readonly labels: Value;
  /** The model's loss is the objective's mean and nothing else, so that it can be counted sample by sample. */
  readonly isLoss: boolean;
}

/**
 * The cross-entropy in a model's own loss, where it has exactly one and the class labels come straight from an input.
 * @param loss - a scalar of a graph whose shapes are known
 * @returns undefined for other losses
 */
export function ownObjective(loss: Value): OwnObjective | undefined {
  const node = onlyCrossEntropy(ancestorsOf([loss]));
  if (!node) return undefined;
  const [scores, labels, weights] = node.inputs;
  const source = labels && fedBy(labels);
  if (!scores || !source) return undefined;
  const isMean = node.string("reduction", "mean") === "mean" && !weights;
  return {
    objective: crossEntropy({ ignoreIndex: ignoredBy(node) }),
    prediction: typed(scores),
    labels: source,
    isLoss: isMean && loss === node.outputs[0],
  };
}

/** The one node that computes a cross-entropy; undefined where there is none or several. */
export function onlyCrossEntropy(nodes: Iterable<Node>): Node | undefined {
  const found = [...nodes].filter(({ op }) => op === "SoftmaxCrossEntropyLoss");
  return found.length === 1 ? found[0] : undefined;
}

/** The label that a loss leaves out of its mean. */
const ignoredBy = (node: Node): number | "none" =>
  node.attributes.has("ignore_index") ? node.int("ignore_index", -1) : "none";

/** The input of the graph that a value is, as it comes or in another type. */
function fedBy(value: Value): Value | undefined {
  const { producer, initializer } = value;
  const source = producer?.op === "Cast" ? producer.inputs[0] : undefined;
  if (source) return fedBy(source);
  return producer || initializer ? undefined : value;
}
