import { adapterPrefix } from "../analysis/adapter-names.ts";
import { type Attribute, float, int, ints, string } from "../graph/attribute.ts";
import type { Graph } from "../graph/graph.ts";
import { Node, Value } from "../graph/node.ts";
import { nodeRecord } from "../graph/records.ts";
import { DataType, type DataTypeName } from "../onnx/data-types.ts";
import { Tensor } from "../onnx/tensor.ts";
import type { Layer } from "./layer.ts";

/**
 * Writes the nodes beside one layer as records of a file. Names begin with `adapter/` and the layer's name; they are free in
 * the graph. Operators are written as the model's opset has them.
 */
export class NodeWriter {
  readonly graph: Graph;
  readonly #stem: string;
  readonly #taken: Set<string>;
  /** The records, in order. */
  readonly records: Uint8Array[] = [];
  /** The values that they compute. */
  readonly values: string[] = [];
  /** Constants that they read. */
  readonly constants: Tensor[] = [];
  /** Those of the values that count as constants of a gradient. */
  readonly detached: string[] = [];

  /** @param taken - names that other writers have taken; this one adds its own */
  constructor(graph: Graph, layer: string, taken: Set<string>) {
    this.graph = graph;
    this.#stem = `${adapterPrefix}${layer.replace(/^\/+/, "")}`;
    this.#taken = taken;
  }

  /** A free name that ends in `part`. */
  name(part: string, stem = this.#stem): string {
    const whole = `${stem}${stem === this.#stem ? "/" : "."}${part}`;
    let name = whole;
    for (let i = 2; this.#taken.has(name) || this.graph.value(name); i++) name = `${whole}_${i}`;
    this.#taken.add(name);
    return name;
  }

  /** Adds a node. @param part - the last part of its name @returns the value that it computes */
  op(
    opType: string,
    part: string,
    inputs: readonly string[],
    {
      attributes = {},
      output,
      domain = "",
    }: { attributes?: Record<string, Attribute>; output?: string; domain?: string } = {},
  ): string {
    const name = this.name(part);
    const result = output ?? name;
    const node = new Node({
      ...{ opType, domain, name, attributes: new Map(Object.entries(attributes)) },
      ...{
        inputs: inputs.map((input) => (input === "" ? null : new Value(input))),
        outputs: [new Value(result)],
      },
    });
    this.records.push(nodeRecord(node));
    this.values.push(result);
    return result;
  }

  /** A single number. */
  number(part: string, value: number, type: DataTypeName): string {
    return this.#constant(part, type, [], [value]);
  }

  /** Several numbers. */
  numbers(part: string, values: ArrayLike<number>, type: DataTypeName): string {
    return this.#constant(part, type, [values.length], values);
  }

  #constant(part: string, type: DataTypeName, dims: readonly number[], values: ArrayLike<number>): string {
    const name = this.name(part);
    const data = type === "double" ? Float64Array.from(values) : Float32Array.from(values);
    this.constants.push(Tensor.of(name, type, dims, data));
    return name;
  }

  /** Several integers: a shape, axes. */
  integers(part: string, numbers: readonly number[]): string {
    const name = this.name(part);
    this.constants.push(Tensor.of(name, "int64", [numbers.length], BigInt64Array.from(numbers, BigInt)));
    return name;
  }

  reshape(value: string, part: string, shape: readonly number[]): string {
    return this.op("Reshape", part, [value, this.integers(`${part}_shape`, shape)]);
  }

  /** The Euclidean norms of a matrix's rows: [rows]. */
  norms(matrix: string, part: string): string {
    return this.#overRows("ReduceL2", matrix, part, 18);
  }

  /** The sums of a matrix's rows: [rows]. */
  sums(matrix: string, part: string): string {
    return this.#overRows("ReduceSum", matrix, part, 13);
  }

  /** @param since - the opset from which the operator has its axes as an input */
  #overRows(op: string, matrix: string, part: string, since: number): string {
    const keepdims = int(0);
    if (this.graph.opset < since) {
      return this.op(op, part, [matrix], { attributes: { axes: ints([1]), keepdims } });
    }
    return this.op(op, part, [matrix, this.integers(`${part}_axes`, [1])], { attributes: { keepdims } });
  }

  /** A value with its axes in another order; a matrix with its axes exchanged. */
  transpose(value: string, part: string, order: readonly number[] = [1, 0]): string {
    return this.op("Transpose", part, [value], { attributes: { perm: ints(order) } });
  }

  cast(value: string, type: DataTypeName, part: string, { output }: { output?: string } = {}): string {
    return this.op("Cast", part, [value], {
      attributes: { to: int(DataType[type]) },
      ...(output !== undefined && { output }),
    });
  }

  /** A Dropout in inference form: training draws its mask. */
  dropout(value: string, ratio: number): string {
    if (this.graph.opset < 12) {
      return this.op("Dropout", "dropout", [value], { attributes: { ratio: float(ratio) } });
    }
    return this.op("Dropout", "dropout", [value, this.number("dropout_ratio", ratio, "float")]);
  }

  convTranspose(x: string, kernel: string, part: string, { geometry = {}, groups }: Layer): string {
    return this.conv(x, kernel, part, geometry, groups, "ConvTranspose");
  }

  conv(
    x: string,
    kernel: string,
    part: string,
    geometry: Readonly<Record<string, readonly number[] | string>>,
    groups = 1,
    op = "Conv",
  ): string {
    const attributes: Record<string, Attribute> = Object.fromEntries(
      Object.entries(geometry).map(([name, value]) => [
        name,
        typeof value === "string" ? string(value) : ints(value),
      ]),
    );
    if (groups > 1) attributes.group = int(groups);
    return this.op(op, part, [x, kernel], { attributes });
  }
}
