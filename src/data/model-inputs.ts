import { cacheBranch, cacheInputs } from "../analysis/cache-inputs.ts";
import { batchAxisOf, fedInputs } from "../analysis/dimensions.ts";
import { inputsOfLayers } from "../analysis/label-inputs.ts";
import { findParameters } from "../analysis/parameters.ts";
import { blockOf } from "../block/block.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { ownIn } from "../lookup.ts";
import type { Model } from "../onnx/model.ts";
import { isLabelName } from "./match.ts";

/** Inputs that may take labels: those of an injected or a named loss. An input that a layer reads is data, whatever its name. */
export function labelInputs(graph: Graph): Value[] {
  const injected = blockOf(graph)?.mark.objective?.labels;
  const inputs = fedInputs(graph);
  if (inputs.length < 2) return [];
  const { parameters } = findParameters(graph, {});
  const data = inputsOfLayers(
    graph,
    parameters.map(({ value }) => value),
  );
  const readByLoss = ({ uses }: Value) =>
    [...uses].some(
      ({ node, index }) =>
        index === 1 && ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"].includes(node.opType),
    );
  return inputs.filter(
    (input) =>
      input.name === injected || (!data.includes(input) && (isLabelName(input.name) || readByLoss(input))),
  );
}

/** The shape of an input; undefined unless all its lengths are declared. */
export function fixedShape({ declared }: Value): readonly number[] | undefined {
  return declared?.every((dim) => typeof dim === "number") ? declared : undefined;
}

/** Length of the first axis of a model's first output, if the file fixes it. */
export function rowsOf({ outputs: [first] }: Graph): number | undefined {
  const rows = first?.declared?.[0];
  return typeof rows === "number" ? rows : undefined;
}

/** An input of a model for data, as far as files must fit it. */
export interface WantedInput {
  readonly name: string;
  /** Shape of one sample, without the batch axis; null where the model leaves a length open. */
  readonly shape: readonly (number | null)[];
}

/**
 * The inputs of a model that take data, not labels, nor a decoder's former tokens, of which there are none.
 * @param dims - lengths of free dimensions, by their name in the file
 */
export function wantedInputs(model: Model, dims: Readonly<Record<string, number>> = {}): WantedInput[] {
  const graph = graphOf(model);
  const caches = cacheInputs(graph, { dims }).map(({ input }) => input);
  const others = [...labelInputs(graph), ...caches];
  return fedInputs(graph)
    .filter((input) => !others.includes(input) && !(caches.length > 0 && input.name === cacheBranch))
    .map((input) => {
      const { name, declared = [] } = input;
      const batchAxis = batchAxisOf(input, fixedShape(input) ?? [], rowsOf(graph));
      const lengths = declared.map((dim, axis) => {
        if (typeof dim === "number") return dim;
        return (typeof dim === "string" ? ownIn(dims, dim) : undefined) ?? dims[`${name}.${axis}`] ?? null;
      });
      const shape = lengths.filter((_, axis) => axis !== batchAxis);
      return { name, shape };
    });
}
