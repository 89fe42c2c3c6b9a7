import { type Typed, typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import { crossEntropy } from "./cross-entropy.ts";
import type { Objective } from "./objective.ts";

/** The objective found in a model's own loss, and the values that it reads. */
export interface OwnObjective {
  readonly objective: Objective;
  /** The scores that it reads, `[batch, classes, …]`. */
  readonly prediction: Typed;
  /** The input that the labels come from. */
  readonly labels: Value;
  /** Whether the model's loss is exactly the objective's mean, so that it can be computed sample by sample. */
  readonly isLoss: boolean;
}

/**
 * The cross-entropy in a model's own loss, if there is exactly one and its class labels come directly from an input.
 * @param loss - a scalar in a graph with known shapes
 * @returns undefined for other losses
 */
export function ownObjective(loss: Value): OwnObjective | undefined {
  const found = crossEntropyIn(loss);
  return found && { ...found, prediction: typed(found.prediction) };
}

/** The same in a graph whose shapes are not known. */
export function crossEntropyIn(
  loss: Value,
): (Omit<OwnObjective, "prediction"> & { readonly prediction: Value }) | undefined {
  const node = onlyCrossEntropy(ancestorsOf([loss]));
  if (!node) return undefined;
  const [scores, labels, weights] = node.inputs;
  const source = labels && fedBy(labels);
  if (!scores || !source) return undefined;
  const isMean = node.string("reduction", "mean") === "mean" && !weights;
  return {
    objective: crossEntropy({ ignoreIndex: ignoredBy(node) }),
    prediction: scores,
    labels: source,
    isLoss: isMean && loss === node.outputs[0],
  };
}

/** The only node that computes a cross-entropy; undefined if there is none or several. */
export function onlyCrossEntropy(nodes: Iterable<Node>): Node | undefined {
  const found = [...nodes].filter(({ op }) => op === "SoftmaxCrossEntropyLoss");
  return found.length === 1 ? found[0] : undefined;
}

/** The label that a loss ignores. */
const ignoredBy = (node: Node): number | "none" =>
  node.attributes.has("ignore_index") ? node.int("ignore_index", -1) : "none";

/** The graph input that a value comes from, directly or through casts. */
function fedBy(value: Value): Value | undefined {
  const { producer, initializer } = value;
  const source = producer?.op === "Cast" ? producer.inputs[0] : undefined;
  if (source) return fedBy(source);
  return producer || initializer ? undefined : value;
}
