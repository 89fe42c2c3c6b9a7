import { fedInputs } from "../analysis/dimensions.ts";
import { SorthError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { BatchArray, Dataset } from "./dataset.ts";
import { fitToInput } from "./fit.ts";

const arrays = {
  float: Float32Array,
  double: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
} satisfies Partial<Record<DataTypeName, new (size: number) => BatchArray>>;

/**
 * The first samples of a dataset as tensors for a model's inputs: x for the first input, y for the second where there is
 * one, both in the type that the model declares.
 *
 * @param count - samples; fewer where the dataset has fewer
 * @returns by input name, samples on the first axis
 * @throws SorthError when the samples do not fit the model, or it has other inputs.
 *
 * @example
 * const { test } = await loadMnist();
 * const feeds = sampleFeeds(model, test, 256); // Map { "x" => float [256, 1, 28, 28] }
 */
export function sampleFeeds(model: Model, dataset: Dataset, count: number): Map<string, Tensor> {
  const [input, labels, ...others] = fedInputs(graphOf(model));
  if (!input) throw new SorthError("the model has no input to feed data to");
  if (others.length > 0) {
    const names = others.map(({ name }) => `"${name}"`).join(", ");
    throw new SorthError(
      `the model has inputs besides its data and labels, which no data is known for: ${names}`,
    );
  }
  const fitted = fitToInput(dataset, { name: input.name, type: input.type, shape: input.declared ?? [] });
  const size = Math.min(count, fitted.size);
  const x = arrayFor(input, size * elementCount(fitted.x.shape));
  const y = labels
    ? arrayFor(labels, size * elementCount(fitted.y.shape))
    : new Float64Array(size * elementCount(fitted.y.shape));
  fitted.fill(
    Array.from({ length: size }, (_, index) => index),
    x,
    y,
  );
  const feeds = new Map([[input.name, Tensor.of(input.name, typeOf(input), [size, ...fitted.x.shape], x)]]);
  if (labels) feeds.set(labels.name, Tensor.of(labels.name, typeOf(labels), [size, ...fitted.y.shape], y));
  return feeds;
}

function typeOf({ name, type }: Value): keyof typeof arrays {
  if (type && type in arrays) return type as keyof typeof arrays;
  throw new SorthError(
    `input "${name}" of the model takes ${type ?? "something unknown"}, which data cannot be turned into`,
  );
}

const arrayFor = (input: Value, size: number): BatchArray => new arrays[typeOf(input)](size);
