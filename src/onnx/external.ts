import { FileError } from "../errors.ts";
import type { onnx } from "./schema.js";
import { type ExternalReference, externalReference } from "./tensor.ts";

/** Every tensor of a model: initializers and tensor attributes, including those of bodies, functions and training graphs. */
export function* tensorsOf(model: onnx.ModelProto.$Properties): Generator<onnx.TensorProto.$Properties> {
  if (model.graph) yield* graphTensors(model.graph);
  for (const { node } of model.functions ?? []) yield* nodeTensors(node ?? []);
  for (const { initialization, algorithm } of model.trainingInfo ?? []) {
    if (initialization) yield* graphTensors(initialization);
    if (algorithm) yield* graphTensors(algorithm);
  }
}

function* graphTensors(graph: onnx.GraphProto.$Properties): Generator<onnx.TensorProto.$Properties> {
  yield* graph.initializer ?? [];
  for (const sparse of graph.sparseInitializer ?? []) yield* sparseTensors(sparse);
  yield* nodeTensors(graph.node ?? []);
}

function* sparseTensors(sparse: onnx.SparseTensorProto.$Properties): Generator<onnx.TensorProto.$Properties> {
  if (sparse.values) yield sparse.values;
  if (sparse.indices) yield sparse.indices;
}

function* nodeTensors(nodes: readonly onnx.NodeProto.$Properties[]): Generator<onnx.TensorProto.$Properties> {
  for (const node of nodes) {
    for (const attribute of node.attribute ?? []) {
      if (attribute.t) yield attribute.t;
      yield* attribute.tensors ?? [];
      if (attribute.sparseTensor) yield* sparseTensors(attribute.sparseTensor);
      for (const sparse of attribute.sparseTensors ?? []) yield* sparseTensors(sparse);
      if (attribute.g) yield* graphTensors(attribute.g);
      for (const body of attribute.graphs ?? []) yield* graphTensors(body);
    }
  }
}

/** Names of the files in which a model keeps tensors. */
export function externalLocations(model: onnx.ModelProto.$Properties): Set<string> {
  const locations = new Set<string>();
  for (const tensor of tensorsOf(model)) {
    const reference = externalReference(tensor);
    if (reference) locations.add(reference.location);
  }
  return locations;
}

/**
 * Normalizes the name of an external file: `/` as separator, no `.` and no empty parts.
 * @throws SorthError when the name is empty or leads out of the model's folder (absolute path, drive letter, `..`)
 */
export function checkedLocation(location: string): string {
  const parts = location.split(/[\\/]/);
  const outside = /^([\\/]|[A-Za-z]:)/.test(location) || parts.includes("..") || location.includes("\0");
  const clean = parts.filter((part) => part !== "" && part !== ".").join("/");
  if (outside || clean === "") {
    throw new FileError(
      `the model keeps data in "${location}", which is not a file inside its folder; refused for safety: store it beside the model`,
    );
  }
  return clean;
}

/**
 * Start and length in bytes of a part of an external file.
 * @throws SorthError when the part extends beyond the end of the file
 */
export function checkedRange(range: ExternalReference, fileSize: number): { offset: number; length: number } {
  const { location, offset } = range;
  const length = range.length ?? fileSize - offset;
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!whole || offset + length > fileSize) {
    throw new FileError(
      `external data file "${location}" has ${fileSize} bytes, but the model places a tensor at bytes ${offset} to ${offset + length}; the file is truncated or belongs to another model`,
    );
  }
  return { offset, length };
}
