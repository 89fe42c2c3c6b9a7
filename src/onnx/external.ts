import { FileError } from "../errors.ts";
import type { onnx } from "./schema.js";
import { type ExternalReference, externalReference } from "./tensor.ts";

/** Every tensor of a model: initializers and attributes, in bodies, functions and training graphs too. */
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

/** A part of an external file: what {@link ExternalReader} is asked for. */
export type ExternalRange = ExternalReference;

/**
 * The name of an external file with `/` between its parts, free of `.` and empty parts.
 * @throws SorthError when the name leads out of the model's folder (absolute, drive letter, `..`) or is empty.
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
 * @throws SorthError when it does not lie within the file's size.
 */
export function checkedRange(range: ExternalRange, fileSize: number): { offset: number; length: number } {
  const { location, offset } = range;
  const length = range.length ?? fileSize - offset;
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!whole || offset + length > fileSize) {
    throw new FileError(
      `external data file "${location}" has ${fileSize} bytes, but a tensor is said to lie at bytes ${offset} to ${offset + length}; the file is truncated or belongs to another model`,
    );
  }
  return { offset, length };
}
