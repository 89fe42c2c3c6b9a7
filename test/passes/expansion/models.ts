import { expect } from "vitest";
import type { Attribute } from "../../../src/graph/attribute.ts";
import { bodyFromGraph } from "../../../src/graph/body-graph.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import type { Value } from "../../../src/graph/node.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { differentiate } from "../../../src/index.ts";
import { encodeModelProto } from "../../../src/onnx/codec.ts";
import { Model } from "../../../src/onnx/model.ts";
import { onnx } from "../../../src/onnx/schema.js";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import type { DifferentiateOptions } from "../../../src/programs/differentiate.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { randomFloats } from "../../helpers/numbers.ts";

/** Builds models in float64, in which gradients are held to 1e-8. */
export class DoubleBuilder extends GraphBuilder {
  /** An initializer of seeded random numbers. */
  override weight(name: string, dims: readonly number[]): Value {
    return this.graph.addInitializer(doubles(name, dims));
  }

  /** An initializer of given numbers. */
  numbers(name: string, dims: readonly number[], values: readonly number[]): Value {
    return this.graph.addInitializer(Tensor.of(name, "double", dims, Float64Array.from(values)));
  }

  bool(name: string, value: boolean): Value {
    return this.graph.addInitializer(Tensor.of(name, "bool", [], Uint8Array.of(value ? 1 : 0)));
  }

  /** Declares the mean square of a value as the output `loss`. */
  loss(value: Value): Model {
    const square = this.op("Mul", [value, value], "square");
    return this.model(this.op("ReduceMean", [square], "loss", { keepdims: 0 }));
  }

  model(...outputs: readonly Value[]): Model {
    this.output(...outputs);
    return Model.fromProto(graphToProto(this.graph));
  }
}

/** Seeded random numbers in [−1, 1). */
export const doubles = (name: string, dims: readonly number[]): Tensor =>
  Tensor.of(name, "double", dims, Float64Array.from(randomFloats(name, elementCount(dims))));

/** Builds a body; `outer` names a value that it reads from outside. */
export class BodyBuilder extends DoubleBuilder {
  readonly captured = new Set<string>();

  outer(name: string): Value {
    this.captured.add(name);
    return this.graph.value(name) ?? this.graph.addInput(name, undefined);
  }

  /** What a body inside this one reads is this one's own, or comes from outside. */
  protected override capture(name: string): Value {
    return this.graph.value(name) ?? this.outer(name);
  }
}

/** A body as an attribute. Its inputs are declared with `input`, in order; it returns its outputs. */
export function body(build: (b: BodyBuilder) => readonly Value[], opset = 18): Attribute {
  const b = new BodyBuilder(opset);
  for (const output of build(b)) b.graph.addOutput(output);
  return { kind: "graph", value: bodyFromGraph(b.graph, b.captured) };
}

/** The inputs that every body of a Loop has. */
export const loopInputs = (b: BodyBuilder): [Value, Value] => [
  b.input("trip", [], "int64"),
  b.input("going", [], "bool"),
];

/** A model-local function of the domain `local`. */
export function localFunction(
  name: string,
  fields: onnx.FunctionProto.$Properties & { readonly opset?: number },
): onnx.FunctionProto {
  const { opset, ...rest } = fields;
  return new onnx.FunctionProto({
    name,
    domain: "local",
    opsetImport: opsetImport({ "": opset ?? 18, local: 1 }),
    ...rest,
  });
}

const opsetImport = (opsets: Readonly<Record<string, number>>) =>
  graphToProto(new GraphBuilder(opsets[""] ?? 18, opsets).graph).opsetImport;

/** A model with functions. */
export function withFunctions(model: Model, ...functions: onnx.FunctionProto[]): Model {
  return Model.fromProto(new onnx.ModelProto({ ...model.proto, functions }));
}

export type Feeds = Readonly<Record<string, Tensor>>;

/** Runs a model as it is. */
export async function run(model: Model, feeds: Feeds): Promise<ReadonlyMap<string, Tensor>> {
  return nodeProbe.run(model.bytes, new Map(Object.entries(feeds)), { optimize: false });
}

/** Runs a graph as it is. */
export const runGraph = (graph: Graph, feeds: Feeds): Promise<ReadonlyMap<string, Tensor>> =>
  nodeProbe.run(encodeModelProto(graphToProto(graph)), new Map(Object.entries(feeds)), { optimize: false });

const numbersOf = (tensor: Tensor | undefined): readonly number[] => tensor?.numbers() ?? [];

/** The model with other numbers in one initializer. */
function withInitializer(model: Model, tensor: Tensor): Model {
  const { graph } = model.proto;
  const initializer = (graph?.initializer ?? []).map((proto) =>
    proto.name === tensor.name ? tensor.toProto() : proto,
  );
  return Model.fromProto(
    new onnx.ModelProto({ ...model.proto, graph: new onnx.GraphProto({ ...graph, initializer }) }),
  );
}

/**
 * Holds the gradients of a float64 model with the output `loss` against central differences of the model itself along a
 * random direction of each parameter (Richardson's extrapolation: the error falls with h⁴).
 * @returns names of the gradients that are not zero
 */
export async function checkGradients(
  model: Model,
  feeds: Feeds = {},
  options: Partial<DifferentiateOptions> = {},
): Promise<string[]> {
  const gradient = await differentiate(model, { loss: "loss", ...options });
  const computed = await run(gradient.model, feeds);
  const [loss] = numbersOf((await run(model, feeds)).get("loss"));
  expect(numbersOf(computed.get(gradient.loss))[0]).toBeCloseTo(loss as number, 12);
  const moving: string[] = [];
  for (const [name, output] of gradient.gradients) {
    const values = numbersOf(computed.get(output));
    const proto = model.proto.graph?.initializer?.find((tensor) => tensor.name === name);
    const base = proto ? Tensor.fromProto(proto) : (feeds[name] as Tensor);
    const direction = randomFloats(`direction of ${name}`, base.size);
    const at = async (step: number) => {
      const moved = Float64Array.from(base.numbers(), (x, i) => x + step * (direction[i] as number));
      const tensor = Tensor.of(name, "double", base.dims, moved);
      const results = proto
        ? run(withInitializer(model, tensor), feeds)
        : run(model, { ...feeds, [name]: tensor });
      return numbersOf((await results).get("loss"))[0] as number;
    };
    const central = async (step: number) => ((await at(step)) - (await at(-step))) / (2 * step);
    const [wide, narrow] = [await central(2e-3), await central(1e-3)];
    const numeric = (4 * narrow - wide) / 3;
    const analytic = values.reduce((sum, value, i) => sum + value * (direction[i] as number), 0);
    const scale = Math.max(Math.hypot(...values) * Math.hypot(...direction), Math.abs(numeric), 1e-3);
    expect(Math.abs(analytic - numeric) / scale, `${name}: ${analytic}, difference ${numeric}`).toBeLessThan(
      1e-8,
    );
    if (values.some((value) => value !== 0)) moving.push(name);
  }
  return moving;
}

/** Operators of a model, bodies and functions not included. */
export const operatorsOf = (model: Model): string[] =>
  (model.proto.graph?.node ?? []).map(({ opType }) => opType ?? "");
