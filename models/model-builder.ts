import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import { float, int, ints } from "../src/graph/attribute.ts";
import { Emit } from "../src/graph/emit.ts";
import type { Typed } from "../src/graph/emit-base.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { dimAt } from "../src/graph/shapes.ts";
import type { onnx } from "../src/onnx/schema.js";
import { elementCount, Tensor } from "../src/onnx/tensor.ts";

/** Opset and IR version of the sample models: the defaults of PyTorch 2.x exports. */
const opset = 18;
const irVersion = 8;

/**
 * Writes a sample model layer by layer. Parameters have the names and initial values of PyTorch's layers: weights and
 * biases uniform in ±1/√fan-in (kaiming uniform with a = √5), BatchNormalization 1 and 0.
 * Shapes are computed for a batch of one; the file declares the batch axis as `batch`.
 */
export class ModelBuilder {
  readonly #g: Emit;
  readonly #random: RandomGenerator;
  readonly #input: Typed;

  constructor(name: string, options: { input: string; sample: readonly number[]; random: RandomGenerator }) {
    this.#g = new Emit(new Graph(name, new Map([["", opset]])), { prefix: "" });
    this.#random = options.random;
    this.#input = this.#g.graph.addInput(options.input, "float", [1, ...options.sample]) as Typed;
  }

  /** The model's input, [batch, …sample]. */
  get input(): Typed {
    return this.#input;
  }

  /** Gemm with a bias: [batch, in] → [batch, units]; the weight is [units, in], as PyTorch stores it. */
  linear(name: string, x: Typed, units: number): Typed {
    const fanIn = dimAt(x.shape, 1);
    const weight = this.#uniform(`${name}.weight`, [units, fanIn], fanIn);
    const bias = this.#uniform(`${name}.bias`, [units], fanIn);
    return this.#g.op("Gemm", [x, weight, bias], [dimAt(x.shape, 0), units], {
      name,
      attributes: { transB: int(1) },
    });
  }

  /**
   * Convolution over all spatial axes of the input, padded so that stride 1 keeps the size (odd kernels). No bias by
   * default, because a following BatchNormalization would cancel it.
   */
  conv(name: string, x: Typed, channels: number, kernel: number, { stride = 1, bias = false } = {}): Typed {
    const inputs = dimAt(x.shape, 1);
    const axes = x.shape.slice(2);
    const weight = this.#uniform(
      `${name}.weight`,
      [channels, inputs, ...axes.map(() => kernel)],
      inputs * kernel ** axes.length,
    );
    const biases = bias ? [this.#uniform(`${name}.bias`, [channels], inputs * kernel ** axes.length)] : [];
    const half = Math.floor(kernel / 2);
    return this.#g.op(
      "Conv",
      [x, weight, ...biases],
      [1, channels, ...axes.map((dim) => Math.ceil(dim / stride))],
      {
        name,
        attributes: {
          kernel_shape: ints(axes.map(() => kernel)),
          strides: ints(axes.map(() => stride)),
          pads: ints([...axes, ...axes].map(() => half)),
        },
      },
    );
  }

  /** BatchNormalization in inference form, with running statistics of 0 and 1. */
  batchNorm(name: string, x: Typed): Typed {
    const channels = dimAt(x.shape, 1);
    const filled = (part: string, value: number) =>
      this.#parameter(`${name}.${part}`, [channels], () => value);
    return this.#g.op(
      "BatchNormalization",
      [x, filled("weight", 1), filled("bias", 0), filled("running_mean", 0), filled("running_var", 1)],
      x.shape,
      { name, attributes: { epsilon: float(1e-5), momentum: float(0.9) } },
    );
  }

  relu = (name: string, x: Typed): Typed => this.#g.op("Relu", [x], x.shape, { name });

  add = (name: string, x: Typed, y: Typed): Typed => this.#g.op("Add", [x, y], x.shape, { name });

  /** Joins all axes except the batch. */
  flatten = (name: string, x: Typed): Typed =>
    this.#g.op("Flatten", [x], [1, elementCount(x.shape.slice(1))], { name, attributes: { axis: int(1) } });

  /** Mean over the spatial axes, which remain with length 1. */
  globalAveragePool = (name: string, x: Typed): Typed =>
    this.#g.op("GlobalAveragePool", [x], [...x.shape.slice(0, 2), ...x.shape.slice(2).map(() => 1)], {
      name,
    });

  /** Maximum over the last axis, which is dropped. */
  maxOverLast(name: string, x: Typed): Typed {
    const axes = this.#g.graph.addInitializer(Tensor.int64(`${name}.axes`, [1], [x.shape.length - 1]));
    return this.#g.op("ReduceMax", [x, axes], x.shape.slice(0, -1), {
      name,
      attributes: { keepdims: int(0) },
    });
  }

  /** Declares the model's output. */
  output(value: Typed): this {
    this.#g.graph.addOutput(value);
    return this;
  }

  /** The model, with the batch axis of its inputs and outputs named `batch`. */
  toProto(): onnx.ModelProto {
    const { graph } = this.#g;
    for (const value of [...graph.inputs, ...graph.outputs]) {
      value.declared = ["batch", ...(value.shape ?? []).slice(1)];
      value.shape = undefined;
    }
    return graphToProto(graph, { irVersion, producer: "sorth-onnx sample models" });
  }

  #uniform(name: string, shape: readonly number[], fanIn: number): Typed {
    const bound = 1 / Math.sqrt(fanIn);
    return this.#parameter(name, shape, () => (2 * uniformFloat64(this.#random) - 1) * bound);
  }

  #parameter(name: string, shape: readonly number[], next: () => number): Typed {
    const data = Float32Array.from({ length: elementCount(shape) }, next);
    return this.#g.graph.addInitializer(Tensor.of(name, "float", shape, data)) as Typed;
  }
}
