import type { BatchArray, Dataset } from "../data/dataset.ts";
import { fitToInput } from "../data/fit.ts";
import { SorthError } from "../errors.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { DataPort, StepPorts } from "../training/step.ts";

/** Arrays that batches are written into, again and again, and the tensors over them. */
export interface BatchFeeds {
  readonly dataset: Dataset;
  readonly x: BatchArray;
  readonly y: BatchArray;
  /** Data and labels of one batch by input name. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Data and labels of the first `count` batches, which lie side by side: a leading axis over them. */
  stacked(count: number): ReadonlyMap<string, Tensor>;
}

function arrayFor({ name, type, shape }: DataPort, batches: number): BatchArray {
  const count = batches * elementCount(shape);
  if (type === "float") return new Float32Array(count);
  if (type === "double") return new Float64Array(count);
  if (type === "int32") return new Int32Array(count);
  if (type === "int64") return new BigInt64Array(count);
  throw new SorthError(`input "${name}" is ${type}; data can be fed as float, double, int32 or int64`);
}

/**
 * Prepares the inputs of a graph for a dataset: the first input takes x; `labels`, or the second input of a model that
 * holds its loss, takes y.
 * @param batches - how many batches the arrays have room for
 * @throws SorthError when samples do not fit the inputs, or the model has more inputs than data
 */
export function batchFeeds(
  ports: Pick<StepPorts, "inputs" | "labels">,
  dataset: Dataset,
  batches = 1,
): BatchFeeds {
  const [first, second, ...rest] = ports.inputs;
  const target = ports.labels ?? second;
  const left = ports.labels ? [second, ...rest] : rest;
  if (!first || !target) throw new SorthError("the graph needs an input for x and one for labels");
  if (left.some(Boolean)) {
    const names = left.flatMap((port) => (port ? [`"${port.name}"`] : []));
    throw new SorthError(`the model has more inputs than the data has arrays: ${names.join(", ")}`);
  }
  const fitted = fitToInput(dataset, first);
  const x = arrayFor(first, batches);
  const y = arrayFor(target, batches);
  const perSample = elementCount(target.shape.slice(1));
  if (perSample !== elementCount(dataset.y.shape)) {
    throw new SorthError(
      `${dataset.name}: labels of one sample have shape [${dataset.y.shape}], but "${target.name}" takes [${target.shape.slice(1)}]`,
    );
  }
  const batch = first.shape[0] ?? 1;
  if (y.length !== batches * batch * perSample) {
    throw new SorthError(
      `"${target.name}" takes labels of shape [${target.shape}], but a batch of ${batch} samples of ${dataset.name} has [${[batch, ...dataset.y.shape]}]`,
    );
  }
  const own = [
    [first, x],
    [target, y],
  ] as const;
  const tensors = (dims: (shape: readonly number[]) => readonly number[]) =>
    new Map(
      own.map(([{ name, type, shape }, array]) => {
        const wanted = dims(shape);
        return [name, Tensor.of(name, type, wanted, array.subarray(0, elementCount(wanted)))];
      }),
    );
  return {
    ...{ dataset: fitted, x, y },
    tensors: tensors((shape) => shape),
    stacked: (count) => tensors((shape) => [count, ...shape]),
  };
}
