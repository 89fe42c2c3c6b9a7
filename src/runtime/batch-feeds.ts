import { uniformFloat32 } from "pure-rand/distribution/uniformFloat32";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import type { BatchArray, Dataset } from "../data/dataset.ts";
import { fitToInput } from "../data/fit.ts";
import { SorthError } from "../errors.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { DataPort, StepPorts } from "../training/step.ts";

/** Arrays that one batch is written into, again and again, and the tensors over them. */
export interface BatchFeeds {
  readonly dataset: Dataset;
  readonly x: BatchArray;
  readonly y: BatchArray;
  /** Data and labels by input name. */
  readonly tensors: ReadonlyMap<string, Tensor>;
}

function arrayFor({ name, type, shape }: DataPort): BatchArray {
  const count = elementCount(shape);
  if (type === "float") return new Float32Array(count);
  if (type === "double") return new Float64Array(count);
  if (type === "int32") return new Int32Array(count);
  if (type === "int64") return new BigInt64Array(count);
  throw new SorthError(`input "${name}" is ${type}; data can be fed as float, double, int32 or int64`);
}

/**
 * Prepares the inputs of a graph for a dataset: the first input takes x; `labels`, or the second input of a model that
 * holds its loss, takes y.
 * @throws SorthError when samples do not fit the inputs, or the model has more inputs than data
 */
export function batchFeeds(ports: Pick<StepPorts, "inputs" | "labels">, dataset: Dataset): BatchFeeds {
  const [first, second, ...rest] = ports.inputs;
  const target = ports.labels ?? second;
  const left = ports.labels ? [second, ...rest] : rest;
  if (!first || !target) throw new SorthError("the graph needs an input for x and one for labels");
  if (left.some(Boolean)) {
    const names = left.flatMap((port) => (port ? [`"${port.name}"`] : []));
    throw new SorthError(`the model has more inputs than the data has arrays: ${names.join(", ")}`);
  }
  const fitted = fitToInput(dataset, first);
  const x = arrayFor(first);
  const y = arrayFor(target);
  const perSample = elementCount(target.shape.slice(1));
  if (perSample !== elementCount(dataset.y.shape)) {
    throw new SorthError(
      `${dataset.name}: labels of one sample have shape [${dataset.y.shape}], but "${target.name}" takes [${target.shape.slice(1)}]`,
    );
  }
  const tensor = (port: DataPort, array: BatchArray) =>
    [port.name, Tensor.of(port.name, port.type, port.shape, array)] as const;
  return { dataset: fitted, x, y, tensors: new Map([tensor(first, x), tensor(target, y)]) };
}

/** Dropout masks of one step: the same for the same seed and step. */
export function dropoutMasks(masks: StepPorts["masks"], seed: number, step: number): Map<string, Tensor> {
  const random = xoroshiro128plus(Math.imul(seed ^ 0x5f356495, 0x9e3779b1) ^ Math.imul(step, 0x85ebca6b));
  return new Map(
    masks.map(({ name, type, shape, ratio }) => {
      const kept = () => (uniformFloat32(random) < ratio ? 0 : 1);
      const count = { length: elementCount(shape) };
      const data = type === "double" ? Float64Array.from(count, kept) : Float32Array.from(count, kept);
      return [name, Tensor.of(name, type, shape, data)];
    }),
  );
}
