import { type Attribute, float, int, ints, string, tensor } from "../../src/graph/attribute.ts";
import { capturedNames } from "../../src/graph/bodies.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { DeclaredDim, Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import { Model } from "../../src/onnx/model.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { randomFloats } from "./numbers.ts";

type AttributeValue = number | string | readonly number[] | Tensor | Attribute;

/** Builds a small graph for a test, node by node, as an exporter would write it: only the inputs have shapes. */
export class GraphBuilder {
  readonly graph: Graph;

  constructor(opset = 18, domains: Readonly<Record<string, number>> = {}) {
    this.graph = new Graph("test", new Map([["", opset], ...Object.entries(domains)]));
  }

  /** A graph input; dimensions may be names, or undefined. */
  input(name: string, declared: readonly DeclaredDim[] | undefined, type: DataTypeName = "float"): Value {
    const fixed = declared?.every((dim) => typeof dim === "number") ? (declared as number[]) : undefined;
    return this.graph.addInput(name, type, fixed, declared);
  }

  /** An initializer of seeded random numbers. */
  weight(name: string, dims: readonly number[]): Value {
    return this.graph.addInitializer(Tensor.float(name, dims, randomFloats(name, elementCount(dims))));
  }

  /** An int64 initializer: a vector, or a scalar from one number. */
  int64(name: string, values: readonly number[] | number): Value {
    return this.graph.addInitializer(
      typeof values === "number"
        ? Tensor.int64(name, [], [values])
        : Tensor.int64(name, [values.length], values),
    );
  }

  /** A node with one output of the same name. Integer numbers become int attributes, others float attributes. */
  op(
    opType: string,
    inputs: readonly (Value | null)[],
    output: string,
    attributes: Readonly<Record<string, AttributeValue>> = {},
    domain = "",
  ): Value {
    return this.many(opType, inputs, [output], attributes, domain)[0] as Value;
  }

  /** A node with several outputs, named after the first one. */
  many(
    opType: string,
    inputs: readonly (Value | null)[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    domain = "",
  ): (Value | null)[] {
    const made = new Map(Object.entries(attributes).map(([name, value]) => [name, attributeOf(value)]));
    const captured = [...made.values()].flatMap((a) =>
      a.kind === "graph" ? [...capturedNames(a.value)] : [],
    );
    return this.graph.addNode({
      opType,
      domain,
      name: outputs[0] ?? opType,
      inputs,
      outputs,
      attributes: made,
      captures: [...new Set(captured)].map((name) => this.capture(name)),
    }).outputs;
  }

  /** A value of this graph that a body of one of its nodes reads. */
  protected capture(name: string): Value {
    return this.graph.valueNamed(name);
  }

  /** Declares outputs. */
  output(...values: readonly Value[]): Graph {
    for (const value of values) this.graph.addOutput(value);
    return this.graph;
  }
}

function attributeOf(value: AttributeValue): Attribute {
  if (typeof value === "number") return Number.isInteger(value) ? int(value) : float(value);
  if (typeof value === "string") return string(value);
  if (value instanceof Tensor) return tensor(value);
  if (Array.isArray(value)) {
    return value.every(Number.isInteger) ? ints(value) : { kind: "floats", value };
  }
  return value as Attribute;
}

/** The model of a graph, as it is read from a file. */
export const builtModel = ({ graph }: GraphBuilder): Model =>
  Model.fromBytes(Model.fromProto(graphToProto(graph, { irVersion: 8 })).bytes);
