import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { descendantsOf } from "../graph/reach.ts";
import { fedInputs } from "./dimensions.ts";

/** Losses read labels and weights of classes side by side. */
const losses = new Set(["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"]);

/** Inputs that a layer reads, directly or after computation: they are data, whatever their name. */
export function inputsOfLayers(graph: Graph, parameters: readonly Value[]): Value[] {
  const inputs = fedInputs(graph).filter((input) => !parameters.includes(input));
  const data = descendantsOf(inputs);
  // Parameters, also transposed, cast or scaled.
  const weights = new Set([...descendantsOf(parameters)].filter((value) => !data.has(value)));
  return inputs.filter((input) => {
    for (const value of descendantsOf([input])) {
      for (const { node } of value.uses) {
        const read = [...node.inputs, ...node.captures];
        if (!losses.has(node.opType) && read.some((other) => other && weights.has(other))) return true;
      }
    }
    return false;
  });
}

/** Label inputs of a model that contains its loss: the inputs that no layer reads. Empty if no layer reads any input. */
export function inputsBesideLayers(graph: Graph, parameters: readonly Value[]): Value[] {
  const data = inputsOfLayers(graph, parameters);
  if (data.length === 0) return [];
  return fedInputs(graph).filter((input) => !data.includes(input) && !parameters.includes(input));
}
