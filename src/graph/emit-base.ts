import { SorthError } from "../errors.ts";
import { DataType, type DataTypeName } from "../onnx/data-types.ts";
import { elementCount, Tensor, type TensorData } from "../onnx/tensor.ts";
import { int64Array } from "../onnx/tensor-data.ts";
import { type Attribute, int, string, tensor } from "./attribute.ts";
import type { Graph } from "./graph.ts";
import type { Node, Value } from "./node.ts";
import { type Shape, shapeText } from "./shapes.ts";

/** Options of {@link Emit}. */
export interface EmitOptions {
  /** Prefix of the names of all emitted nodes and values. */
  readonly prefix: string;
  /** Form of constants: initializers (default), or Constant nodes (for files of IR 3 and for injected blocks). */
  readonly constants?: "initializers" | "nodes";
  /** Whether the graph must also work for other lengths (such as another batch size) than its static shapes. Default: false. */
  readonly openShapes?: boolean;
  /** Number of shards into which the batch is cut; the graph computes one of them (`overShards`). Default: 1. */
  readonly shards?: number;
  /** Channels of a block in the layout in which the runtime that the graph is for convolves. Default: it has no such layout. */
  readonly channelBlock?: number;
  /** `metadata_props` of every emitted node. */
  readonly metadata?: ReadonlyMap<string, string>;
}

/** The operator of `overShards`, which no runtime has: a graph is cut where it stands. */
export const shardsDomain = "sorth";
export const shardsOp = "OverShards";

/** A value whose type and static shape are known; every emitted value is one. */
export type Typed = Value & { type: DataTypeName; shape: Shape };

/** Asserts that a value's type and shape are known. @throws SorthError that names the value */
export function typed(value: Value): Typed {
  if (!value.type) throw new SorthError(`the type of "${value.name}" is not known: ONNX Runtime infers none`);
  if (!value.shape) {
    throw new SorthError(
      `the shape of "${value.name}" is not known; fix the model's free dimensions (--dim NAME=N, --batch N)`,
    );
  }
  return value as Typed;
}

/** Adds nodes to a graph, with the types and shapes of their outputs. Equal constants are shared. */
export class EmitBase {
  readonly graph: Graph;
  readonly options: EmitOptions;
  readonly #constants = new Map<string, Typed>();
  readonly #memo = new Map<string, Typed>();

  constructor(graph: Graph, options: EmitOptions) {
    this.graph = graph;
    this.options = options;
  }

  /** Version of the standard operator set in which nodes are written. */
  get opset(): number {
    return this.graph.opset;
  }

  /** Adds a node with one output of the given shape and type (default type: that of the first input). */
  op(
    opType: string,
    inputs: readonly (Value | null)[],
    shape: Shape,
    extra: {
      type?: DataTypeName;
      attributes?: Record<string, Attribute>;
      domain?: string;
      name?: string;
    } = {},
  ): Typed {
    const type = extra.type ?? inputs[0]?.type;
    if (!type) throw new SorthError(`the type of the first input of ${opType} is not known`);
    return this.multi(opType, inputs, [{ type, shape }], extra)[0] as Typed;
  }

  /** Adds a node with several outputs. */
  multi(
    opType: string,
    inputs: readonly (Value | null)[],
    outputs: readonly { type: DataTypeName; shape: Shape }[],
    extra: {
      attributes?: Record<string, Attribute>;
      domain?: string;
      name?: string;
      /** Values of this graph that bodies among the attributes read. */
      captures?: readonly Value[];
    } = {},
  ): Typed[] {
    const stem = `${this.options.prefix}${extra.name ?? opType}`;
    const names = outputs.map(() => "");
    const node: Node = this.graph.addNode({
      opType,
      ...(extra.domain ? { domain: extra.domain } : {}),
      attributes: new Map(Object.entries(extra.attributes ?? {})),
      inputs,
      captures: extra.captures ?? [],
      outputs: names.map((_, index) => this.#reserve(index === 0 ? stem : `${stem}.${index}`, names, index)),
      ...(this.options.metadata ? { metadata: this.options.metadata } : {}),
    });
    this.graph.nameNode(node, node.outputs[0]?.name ?? stem);
    return node.outputs.map((output, index) => {
      const value = output as Typed;
      value.type = outputs[index]?.type as DataTypeName;
      value.shape = outputs[index]?.shape as Shape;
      return value;
    });
  }

  /** A constant; equal constants share one value. */
  constant(type: DataTypeName, shape: Shape, data: TensorData): Typed {
    if (data.length !== elementCount(shape)) {
      throw new SorthError(`a constant of shape ${shapeText(shape)} was given ${data.length} elements`);
    }
    // The text of a long list would take more memory than the list.
    if (data.length > 2 ** 18) return this.tensorConstant(Tensor.of("", type, shape, data));
    const key = `${type}${shapeText(shape)}${Array.from(data as ArrayLike<unknown>).join()}`;
    const known = this.#constants.get(key);
    if (known && this.#holds(known)) return known;
    const value = this.tensorConstant(Tensor.of("", type, shape, data));
    this.#constants.set(key, value);
    return value;
  }

  /** A constant that is not shared, of any size. */
  tensorConstant(value: Tensor): Typed {
    if (this.options.constants === "nodes") {
      const attributes = { value: tensor(value.named("")) };
      return this.op("Constant", [], value.dims, { type: value.type, name: "const", attributes });
    }
    const name = this.graph.freshName(`${this.options.prefix}const`);
    return this.graph.addInitializer(value.named(name)) as Typed;
  }

  /** An int64 vector constant, the form of shapes, axes and pads. */
  int64s(values: readonly number[]): Typed {
    return this.constant("int64", [values.length], int64Array(values));
  }

  /** A constant of real numbers in the given type (half types through a Cast from float). */
  numbers(values: readonly number[], shape: Shape, type: DataTypeName = "float"): Typed {
    if (type === "double") return this.constant("double", shape, Float64Array.from(values));
    const single = this.constant("float", shape, Float32Array.from(values));
    if (type === "float") return single;
    return this.op("Cast", [single], shape, { type, attributes: { to: int(DataType[type]) } });
  }

  /** A single number of the given type (half types through a Cast), of shape [] or of `rank` axes of length 1. */
  scalar(value: number, type: DataTypeName = "float", rank = 0): Typed {
    const shape = Array.from({ length: rank }, () => 1);
    if (type === "float") return this.constant("float", shape, Float32Array.of(value));
    if (type === "double") return this.constant("double", shape, Float64Array.of(value));
    if (type === "int32") return this.constant("int32", shape, Int32Array.of(value));
    if (type === "int64") return this.constant("int64", shape, BigInt64Array.of(BigInt(value)));
    return this.once(`scalar ${type} ${rank} ${value}`, () =>
      this.op("Cast", [this.scalar(value, "float", rank)], shape, {
        type,
        attributes: { to: int(DataType[type]) },
      }),
    );
  }

  /** Emits a value once per key and returns the same value afterwards, as long as the graph is not pruned of it. */
  once(key: string, build: () => Typed): Typed {
    const known = this.#memo.get(key);
    if (known && this.#holds(known)) return known;
    const value = build();
    this.#memo.set(key, value);
    return value;
  }

  /** Number of shards into which the batch is cut; the graph computes one of them. */
  get shards(): number {
    return this.options.shards ?? 1;
  }

  /**
   * The sum or the mean of a value over all shards of the batch; the value itself if there is one shard. Where the graph is cut in stages
   * (src/distribute), the program that runs the stages computes it.
   */
  overShards(x: Typed, reduce: "sum" | "mean"): Typed {
    if (this.shards === 1) return x;
    return this.once(`${reduce} over shards of ${x.name}`, () => {
      this.graph.opsets.set(shardsDomain, 1);
      return this.op(shardsOp, [x], x.shape, {
        domain: shardsDomain,
        attributes: { reduce: string(reduce) },
      });
    });
  }

  #holds = (value: Typed): boolean => this.graph.value(value.name) === value;

  #reserve(stem: string, names: string[], index: number): string {
    let name = this.graph.freshName(stem);
    while (names.includes(name)) name = this.graph.freshName(`${name}_`);
    names[index] = name;
    return name;
  }
}
