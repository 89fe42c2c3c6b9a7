import Long from "long";
import { inject } from "../../src/inject/inject.ts";
import type { InjectOptions } from "../../src/inject/options.ts";
import { DataType, type DataTypeName } from "../../src/onnx/data-types.ts";
import { Model } from "../../src/onnx/model.ts";
import { onnx } from "../../src/onnx/schema.js";
import { numberToFloat16 } from "../../src/onnx/small-types.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { som } from "../../src/penalties/som.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { randomFloats, randomNormals } from "../helpers/numbers.ts";

const kinds = onnx.AttributeProto.AttributeType;
const long = (value: number): Long => Long.fromNumber(value);

/** An integer attribute. */
export const intAttribute = (name: string, value: number): onnx.AttributeProto.$Properties => ({
  name,
  type: kinds.INT,
  i: long(value),
});

/** A value with its type and dimensions: numbers, names, or undefined for unknown. */
export function info(
  name: string,
  type: DataTypeName,
  dims: (number | string)[],
): onnx.ValueInfoProto.$Properties {
  const dim = dims.map((d) => (typeof d === "number" ? { dimValue: long(d) } : { dimParam: d }));
  return { name, type: { tensorType: { elemType: DataType[type], shape: { dim } } } };
}

/** Random numbers as an initializer of a float type. */
export function parameter(
  name: string,
  dims: readonly number[],
  type: DataTypeName = "float",
): onnx.TensorProto {
  const count = dims.reduce((a, b) => a * b, 1);
  const numbers = randomFloats(name, count, -0.5, 0.5);
  if (type === "double") return Tensor.of(name, type, dims, Float64Array.from(numbers)).toProto();
  if (type === "float16")
    return Tensor.of(name, type, dims, Uint16Array.from(numbers, numberToFloat16)).toProto();
  return Tensor.float(name, dims, numbers).toProto();
}

/** How a test's network differs from the usual one. */
export interface NetworkOptions {
  readonly opset?: number;
  readonly irVersion?: number;
  readonly type?: DataTypeName;
  /** A number, or `batch` left free (default). */
  readonly batch?: number;
  /** Ends in a loss of its own: the mean of the squared outputs, shape [] or [1]. */
  readonly loss?: "scalar" | "vector";
  /** The loss is read by a further node, whose output is `twice`. */
  readonly lossReader?: boolean;
  /** Puts the initializers into the inputs, as files of IR 3 must. */
  readonly initializersAreInputs?: boolean;
  /** The last operator is this one. */
  readonly end?: "Softmax" | "Sigmoid";
}

/** x: [batch, 6] → Gemm fc1 (8 units) → Relu → Gemm fc2 (5 units) → y, and whatever the options add. */
export function network(options: NetworkOptions = {}): Model {
  const { opset = 17, irVersion = 8, type = "float", batch, loss, lossReader, end } = options;
  const initializer = [
    parameter("w1", [8, 6], type),
    parameter("b1", [8], type),
    parameter("w2", [5, 8], type),
    parameter("b2", [5], type),
  ];
  const gemm = (name: string, input: string[], output: string) => ({
    opType: "Gemm",
    name,
    input,
    output: [output],
    attribute: [intAttribute("transB", 1)],
  });
  const logits = end ? "logits" : "y";
  const node: onnx.NodeProto.$Properties[] = [
    gemm("fc1", ["x", "w1", "b1"], "h"),
    { opType: "Relu", name: "relu", input: ["h"], output: ["a"] },
    gemm("fc2", ["a", "w2", "b2"], logits),
    ...(end ? [{ opType: end, input: [logits], output: ["y"] }] : []),
  ];
  const output = [info("y", type, [batch ?? "batch", 5])];
  if (loss) {
    const keepdims = intAttribute("keepdims", loss === "scalar" ? 0 : 1);
    const flat = loss === "scalar" ? "squares" : "flat";
    node.push({ opType: "Mul", name: "square", input: ["y", "y"], output: ["squares"] });
    if (loss === "vector") {
      initializer.push(Tensor.int64("minusOne", [1], [-1]).toProto());
      node.push({ opType: "Reshape", name: "flatten", input: ["squares", "minusOne"], output: ["flat"] });
    }
    node.push({ opType: "ReduceMean", name: "mean", input: [flat], output: ["loss"], attribute: [keepdims] });
    output.push(info("loss", type, loss === "scalar" ? [] : [1]));
  }
  if (lossReader) {
    node.push({ opType: "Add", name: "double", input: ["loss", "loss"], output: ["twice"] });
    output.push(info("twice", type, loss === "scalar" ? [] : [1]));
  }
  const input = [info("x", type, [batch ?? "batch", 6])];
  if (options.initializersAreInputs) {
    for (const { name, dims } of initializer)
      input.push(
        info(
          name,
          type,
          dims.map((d) => Number(d)),
        ),
      );
  }
  return Model.fromBytes(modelOf({ name: "network", node, input, output, initializer }, opset, irVersion));
}

/** The bytes of a model with that graph. */
export function modelOf(graph: onnx.GraphProto.$Properties, opset = 17, irVersion = 8): Uint8Array {
  const proto = new onnx.ModelProto({
    irVersion: long(irVersion),
    producerName: "test",
    opsetImport: [{ domain: "", version: long(opset) }],
    graph: new onnx.GraphProto(graph),
  });
  return onnx.ModelProto.encode(proto).finish().slice();
}

/** Input for {@link network}: [batch, 6], standard normal. */
export const samples = (batch: number, seed = "samples"): Tensor =>
  Tensor.float("x", [batch, 6], randomNormals(seed, batch * 6));

/** A model into which SOM is injected. */
export const withSom = (model: Model, options: Partial<InjectOptions> = {}): Promise<Model> =>
  inject(model, { penalties: [som()], ...options }, nodeProbe);

/** The names of nodes, inputs or outputs of a file. */
export const names = (list: readonly { name?: string | null }[] | null | undefined): string[] =>
  (list ?? []).map(({ name }) => name ?? "");
