import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { float, int, ints } from "../src/graph/attribute.ts";
import { Emit } from "../src/graph/emit.ts";
import type { Typed } from "../src/graph/emit-base.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { dimAt, type Shape } from "../src/graph/shapes.ts";
import { encodeModelProto } from "../src/onnx/codec.ts";
import { elementCount, Tensor } from "../src/onnx/tensor.ts";
import { randomStream } from "../src/random.ts";

/** Number of classes of both networks. */
export const classes = 10;

/** A network to time: its model with a fixed batch, and one batch of data. */
export interface BenchmarkModel {
  readonly name: string;
  /** Description of the layers and the batch, for reports. */
  readonly title: string;
  readonly onnx: Uint8Array;
  /** Input `x`, batch axis first. */
  readonly x: Tensor;
  readonly labels: Int32Array;
}

/** 784-512-256-10 with ReLU, batch 64. */
export function mlp(): BenchmarkModel {
  const m = new Builder("mlp", [64, 784]);
  let y = m.x;
  for (const [i, units] of [512, 256, classes].entries()) {
    y = m.linear(`fc.${i}`, y, units);
    if (i < 2) y = m.relu(y);
  }
  return m.finish(y, "MLP 784-512-256-10, batch 64");
}

/** 3×3 convolutions 3-32-64-128 with BatchNormalization and ReLU, two 2×2 poolings, mean over pixels; 32×32, batch 32. */
export function cnn(): BenchmarkModel {
  const m = new Builder("cnn", [32, 3, 32, 32]);
  let y = m.x;
  for (const [i, channels] of [32, 64, 128].entries()) {
    y = m.relu(m.batchNorm(`bn.${i}`, m.conv(`conv.${i}`, y, channels)));
    if (i > 0) y = m.halve(y);
  }
  return m.finish(m.linear("fc", m.means(y), classes), "CNN 3-32-64-128 with BatchNorm, 32×32, batch 32");
}

/** Writes layers whose parameters have the names of their PyTorch twins in bench/torch_step.py. */
class Builder {
  readonly x: Typed;
  readonly #name: string;
  readonly #g: Emit;
  readonly #random = randomStream("bench", 7);

  constructor(name: string, shape: Shape) {
    this.#name = name;
    this.#g = new Emit(new Graph(name, new Map([["", 18]])), { prefix: "" });
    this.x = this.#g.graph.addInput("x", "float", shape) as Typed;
  }

  linear(name: string, x: Typed, units: number): Typed {
    const fanIn = dimAt(x.shape, 1);
    const inputs = [
      x,
      this.#weight(`${name}.weight`, [units, fanIn]),
      this.#vector(`${name}.bias`, units, 0),
    ];
    return this.#g.op("Gemm", inputs, [dimAt(x.shape, 0), units], { name, attributes: { transB: int(1) } });
  }

  conv(name: string, x: Typed, channels: number): Typed {
    const [batch, inputs, ...pixels] = x.shape as [number, number, ...number[]];
    const weight = this.#weight(`${name}.weight`, [channels, inputs, 3, 3]);
    return this.#g.op(
      "Conv",
      [x, weight, this.#vector(`${name}.bias`, channels, 0)],
      [batch, channels, ...pixels],
      {
        name,
        attributes: { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) },
      },
    );
  }

  batchNorm(name: string, x: Typed): Typed {
    const vector = (part: string, value: number) => this.#vector(`${name}.${part}`, dimAt(x.shape, 1), value);
    return this.#g.op(
      "BatchNormalization",
      [x, vector("weight", 1), vector("bias", 0), vector("running_mean", 0), vector("running_var", 1)],
      x.shape,
      { name, attributes: { epsilon: float(1e-5), momentum: float(0.9) } },
    );
  }

  relu = (x: Typed): Typed => this.#g.op("Relu", [x], x.shape);

  /** Maximum over 2×2 pixels. */
  halve(x: Typed): Typed {
    const shape = x.shape.map((dim, axis) => (axis < 2 ? dim : dim / 2));
    return this.#g.op("MaxPool", [x], shape, {
      attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
    });
  }

  /** Mean over pixels: [N, C, H, W] → [N, C]. */
  means(x: Typed): Typed {
    const shape = x.shape.slice(0, 2);
    return this.#g.op("Flatten", [this.#g.op("GlobalAveragePool", [x], [...shape, 1, 1])], shape);
  }

  /** The model, and a batch of data with unit variance. */
  finish(logits: Typed, title: string): BenchmarkModel {
    this.#g.graph.addOutput(logits);
    const { shape } = this.x;
    return {
      name: this.#name,
      title,
      onnx: encodeModelProto(graphToProto(this.#g.graph)),
      x: Tensor.of("x", "float", shape, this.#uniform(shape, Math.sqrt(3))),
      labels: Int32Array.from({ length: dimAt(shape, 0) }, () =>
        Math.floor(classes * uniformFloat64(this.#random)),
      ),
    };
  }

  /** He initialization: uniform with variance 2 / fan-in. */
  #weight(name: string, shape: Shape): Typed {
    const data = this.#uniform(shape, Math.sqrt(6 / elementCount(shape.slice(1))));
    return this.#g.graph.addInitializer(Tensor.of(name, "float", shape, data)) as Typed;
  }

  #vector(name: string, length: number, value: number): Typed {
    const data = new Float32Array(length).fill(value);
    return this.#g.graph.addInitializer(Tensor.of(name, "float", [length], data)) as Typed;
  }

  #uniform(shape: Shape, bound: number): Float32Array {
    return Float32Array.from(
      { length: elementCount(shape) },
      () => (2 * uniformFloat64(this.#random) - 1) * bound,
    );
  }
}
