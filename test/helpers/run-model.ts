import * as ort from "onnxruntime-node";
import type { Graph } from "../../src/graph/graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import { Tensor, type TensorData } from "../../src/onnx/tensor.ts";

/** ONNX Runtime's names of the element types that tests feed and fetch. */
const ortTypes: Partial<Record<DataTypeName, ort.Tensor.Type>> = {
  float: "float32",
  double: "float64",
  float16: "float16",
  int8: "int8",
  uint8: "uint8",
  int16: "int16",
  uint16: "uint16",
  int32: "int32",
  uint32: "uint32",
  int64: "int64",
  uint64: "uint64",
  bool: "bool",
};

const ownTypes = new Map(
  Object.entries(ortTypes).map(([own, theirs]) => [theirs as string, own as DataTypeName]),
);

/** Options of {@link runModel}. */
export interface RunModelOptions {
  /** Whether ONNX Runtime may rewrite the graph (default true). */
  readonly optimize?: boolean;
  /** Outputs to fetch; default: all. */
  readonly outputs?: readonly string[];
}

/**
 * Runs a model once with onnxruntime-node on the CPU (one thread) and returns its outputs by name.
 *
 * @example
 * const { y } = await runModel(graph, { x: Tensor.float("x", [2, 3], randomFloats("x", 6)) });
 */
export async function runModel(
  model: Uint8Array | Graph,
  feeds: Readonly<Record<string, Tensor>>,
  options: RunModelOptions = {},
): Promise<Record<string, Tensor>> {
  const bytes = model instanceof Uint8Array ? model : encodeModelProto(graphToProto(model));
  const session = await ort.InferenceSession.create(bytes, {
    graphOptimizationLevel: options.optimize === false ? "disabled" : "all",
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  try {
    const inputs = Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toOrt(tensor)]));
    const results = await session.run(inputs, [...(options.outputs ?? session.outputNames)]);
    return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, fromOrt(name, tensor)]));
  } finally {
    await session.release();
  }
}

/** Converts a tensor of this library to one of ONNX Runtime. */
export function toOrt(tensor: Tensor): ort.Tensor {
  const type = ortTypes[tensor.type];
  if (!type) throw new TypeError(`tests do not feed tensors of type ${tensor.type}`);
  return new ort.Tensor(type, tensor.data as ort.Tensor.DataType, [...tensor.dims]);
}

/** Converts a tensor of ONNX Runtime to one of this library. */
export function fromOrt(name: string, tensor: ort.Tensor): Tensor {
  const type = ownTypes.get(tensor.type);
  if (!type) throw new TypeError(`tests do not fetch tensors of type ${tensor.type}`);
  return Tensor.of(name, type, tensor.dims, tensor.data as TensorData);
}
