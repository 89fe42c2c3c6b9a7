import {
  type DimensionOptions,
  declaredBatchAxis,
  fedInputs,
  missingDimensions,
} from "../analysis/dimensions.ts";
import { graphOf } from "../graph/model-graph.ts";
import { tableOf } from "../lookup.ts";
import type { Model } from "../onnx/model.ts";
import { emptied } from "../passes/training/empty-cache.ts";
import { type Dataset, mainColumn } from "./dataset.ts";
import { isUsual } from "./token-columns.ts";

/**
 * How many inputs of a model one sample of a dataset holds (`siamese`): the length of the axis that each of its arrays has more
 * than the inputs; undefined for one.
 */
export function siameseOf(model: Model, dataset: Dataset): number | undefined {
  const inputs = fedInputs(graphOf(model)).filter(({ name }) => !isUsual(name));
  const main = dataset.inputs ? mainColumn(dataset.inputs.values()) : dataset.x;
  const counts = inputs.map(({ name, declared }) => {
    const shape = (dataset.inputs?.get(name) ?? (inputs.length === 1 ? main : undefined))?.shape ?? [];
    return declared && shape.length === declared.length ? shape[0] : undefined;
  });
  const [first] = counts;
  return first !== undefined && first > 1 && counts.every((count) => count === first) ? first : undefined;
}

/**
 * Lengths of a model's free dimensions that nobody has given but the data have: those of the arrays that are fed to its inputs
 * by name, or of x where the model has one input.
 *
 * @example
 * const { train } = await loadData("tokens.npz"); // input_ids [1000, 128]
 * const dims = lengthsOf(model, train); // { sequence_length: 128 }
 */
export function lengthsOf(
  model: Model,
  dataset: Dataset,
  options: DimensionOptions & { readonly siamese?: number } = {},
): Readonly<Record<string, number>> {
  const graph = graphOf(model);
  const given = emptied(graph, options);
  const missing = new Set(missingDimensions(graph, given));
  const inputs = fedInputs(graph);
  const plain = inputs.filter(({ name }) => !isUsual(name));
  const main = dataset.inputs ? mainColumn(dataset.inputs.values()) : dataset.x;
  const found: Record<string, number> = tableOf({});
  for (const input of inputs) {
    const { name, declared } = input;
    const shape = (dataset.inputs?.get(name) ?? (plain.length === 1 && plain[0] === input ? main : undefined))
      ?.shape;
    const ofOne = options.siamese === undefined ? shape : shape?.slice(1);
    if (!ofOne || declared?.length !== ofOne.length + 1) continue;
    const lengths = ofOne.toSpliced(declaredBatchAxis(input), 0, 0);
    for (const [axis, dim] of declared.entries()) {
      const key = dim ?? `${name}.${axis}`;
      const length = lengths[axis];
      if (typeof key === "string" && missing.has(key) && length) found[key] ??= length;
    }
  }
  return found;
}
