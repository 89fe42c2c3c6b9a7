import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import { type Attribute, float, int } from "../src/graph/attribute.ts";
import { Graph } from "../src/graph/graph.ts";
import type { DeclaredDim, Value } from "../src/graph/node.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { DataType } from "../src/onnx/data-types.ts";
import type { onnx } from "../src/onnx/schema.js";
import { elementCount, Tensor } from "../src/onnx/tensor.ts";
import { firstGenerator } from "./first-generator.ts";

/** One token for each value of a byte, so that a text needs no tokenizer. */
const tokens = 256;
const [width, inner, layers, heads, shared, headWidth, places] = [64, 128, 2, 4, 2, 16, 128];
/** Weights in a block of MatMulNBits, which have one scale. */
const block = 32;
const irVersion = 10;

/**
 * A language model of 2 layers in the operators that onnxruntime-genai's builder writes for an int4 Llama: GroupQueryAttention
 * with rotation and a cache, SkipSimplifiedLayerNormalization, a gated unit of Sigmoid and Mul, MatMulNBits with blocks of 32.
 * input_ids [batch_size, sequence_length] → logits [batch_size, sequence_length, 256].
 */
export const decoder = (): { toProto(): onnx.ModelProto } => new DecoderBuilder(firstGenerator(4));

class DecoderBuilder {
  readonly #graph = new Graph(
    "decoder",
    new Map([
      ["", 21],
      ["com.microsoft", 1],
    ]),
  );
  readonly #random: RandomGenerator;

  constructor(random: RandomGenerator) {
    this.#random = random;
    const ids = this.#input("input_ids", "int64", ["batch_size", "sequence_length"]);
    const mask = this.#input("attention_mask", "int64", ["batch_size", "total_sequence_length"]);
    const lengths = this.#lengths(mask);
    const tables = [Math.cos, Math.sin].map((f) => this.#angles(f));
    const caches: Value[] = [];
    let skip = this.#node("embed_tokens", "Gather", [
      this.#weight("embed_tokens.weight", [tokens, width], width),
      ids,
    ]);
    let x = this.#node(
      "layers.0.input_norm",
      "SimplifiedLayerNormalization",
      [skip, this.#ones("layers.0.input_norm.weight")],
      {
        ...{ axis: int(-1), epsilon: float(1e-6), stash_type: int(1) },
      },
    );
    for (let layer = 0; layer < layers; layer++) {
      const name = `layers.${layer}`;
      const qkv = this.#product(`${name}.attn.qkv_proj`, x, width, (heads + 2 * shared) * headWidth);
      const past = ["key", "value"].map((kind) =>
        this.#input(`past_key_values.${layer}.${kind}`, "float", [
          "batch_size",
          shared,
          "past_sequence_length",
          headWidth,
        ]),
      );
      const attention = this.#nodes(
        `${name}.attn`,
        "com.microsoft.GroupQueryAttention",
        [qkv, null, null, ...past, ...lengths, ...tables],
        [`${name}.attn.output`, `present.${layer}.key`, `present.${layer}.value`],
        { num_heads: int(heads), kv_num_heads: int(shared), do_rotary: int(1) },
      );
      caches.push(...attention.slice(1));
      const mixed = this.#product(`${name}.attn.o_proj`, attention[0] as Value, heads * headWidth, width);
      [x, skip] = this.#normalized(`${name}.post_attention_norm`, skip, mixed);
      const gate = this.#product(`${name}.mlp.gate_proj`, x, width, inner);
      const open = this.#node(`${name}.mlp.act.sigmoid`, "Sigmoid", [gate]);
      const swish = this.#node(`${name}.mlp.act`, "Mul", [gate, open]);
      const up = this.#product(`${name}.mlp.up_proj`, x, width, inner);
      const product = this.#node(`${name}.mlp.product`, "Mul", [swish, up]);
      const down = this.#product(`${name}.mlp.down_proj`, product, inner, width);
      [x, skip] = this.#normalized(
        layer + 1 < layers ? `layers.${layer + 1}.input_norm` : "norm",
        skip,
        down,
      );
    }
    const logits = this.#node(
      "lm_head",
      "MatMul",
      [x, this.#weight("lm_head.weight", [width, tokens], width)],
      {},
      "logits",
    );
    this.#output(logits, ["batch_size", "sequence_length", tokens]);
    for (const cache of caches)
      this.#output(cache, ["batch_size", shared, "total_sequence_length", headWidth]);
  }

  toProto(): onnx.ModelProto {
    return graphToProto(this.#graph, { irVersion, producer: "sorth-onnx sample models" });
  }

  #input(name: string, type: "int64" | "float", declared: readonly DeclaredDim[]): Value {
    return this.#graph.addInput(name, type, undefined, declared);
  }

  #output(value: Value, declared: readonly DeclaredDim[]): void {
    value.type = "float";
    value.declared = declared;
    this.#graph.addOutput(value);
  }

  #nodes(
    name: string,
    op: string,
    inputs: readonly (Value | null)[],
    outputs: readonly (string | null)[],
    attributes: Record<string, Attribute>,
  ): Value[] {
    const dot = op.lastIndexOf(".");
    const [domain, opType] = dot < 0 ? ["", op] : [op.slice(0, dot), op.slice(dot + 1)];
    const node = this.#graph.addNode({
      ...{ opType, domain, name, inputs, outputs },
      attributes: new Map(Object.entries(attributes)),
    });
    return node.outputs.filter((output) => output !== null);
  }

  #node(
    name: string,
    op: string,
    inputs: readonly (Value | null)[],
    attributes: Record<string, Attribute> = {},
    output = `${name}.output`,
  ): Value {
    return this.#nodes(name, op, inputs, [output], attributes)[0] as Value;
  }

  /** Tokens of each sample in front of its padding, less one, and of the longest sample. */
  #lengths(mask: Value): Value[] {
    const one = this.#graph.addInitializer(Tensor.int64("one", [1], [1]));
    const axis = this.#graph.addInitializer(Tensor.int64("axis", [], [1]));
    const counted = this.#node("mask.count", "ReduceSum", [mask, one], { keepdims: int(0) });
    const less = this.#node("mask.count_less_one", "Sub", [counted, one]);
    const total = this.#node("mask.total", "Gather", [this.#node("mask.shape", "Shape", [mask]), axis], {
      axis: int(0),
    });
    return [less, total].map((value) =>
      this.#node(`${value.name}.int32`, "Cast", [value], { to: int(DataType.int32) }),
    );
  }

  /** Cosines or sines of the angles by which the pairs of a head are turned at each place, as in Llama. */
  #angles(f: (angle: number) => number): Value {
    const pairs = headWidth / 2;
    const data = Float32Array.from({ length: places * pairs }, (_, i) =>
      f(Math.floor(i / pairs) * 10000 ** (-(i % pairs) / pairs)),
    );
    return this.#graph.addInitializer(
      Tensor.float(f === Math.cos ? "cos_cache" : "sin_cache", [places, pairs], data),
    );
  }

  #ones(name: string): Value {
    return this.#graph.addInitializer(Tensor.float(name, [width], new Float32Array(width).fill(1)));
  }

  /** Uniform in ±1/√fan-in. */
  #uniform(count: number, fanIn: number): Float32Array {
    return Float32Array.from(
      { length: count },
      () => (2 * uniformFloat64(this.#random) - 1) / Math.sqrt(fanIn),
    );
  }

  #weight(name: string, shape: readonly number[], fanIn: number): Value {
    return this.#graph.addInitializer(Tensor.float(name, shape, this.#uniform(elementCount(shape), fanIn)));
  }

  /** norm(skip + x)·weight, and the sum. */
  #normalized(name: string, skip: Value, x: Value): [Value, Value] {
    const inputs = [skip, x, this.#ones(`${name}.weight`)];
    const outputs = name === "norm" ? [`${name}.output`] : [`${name}.output`, null, null, `${name}.sum`];
    const made = this.#nodes(name, "com.microsoft.SkipSimplifiedLayerNormalization", inputs, outputs, {
      epsilon: float(1e-6),
    });
    return [made[0] as Value, made.at(-1) as Value];
  }

  /** A product with a weight [units, fanIn] of 4 bits: two numbers in a byte, the lower one first, 8 stands for 0. */
  #product(name: string, x: Value, fanIn: number, units: number): Value {
    const blocks = fanIn / block;
    const weight = this.#uniform(units * fanIn, fanIn);
    const scales = new Float32Array(units * blocks);
    const bytes = new Uint8Array((units * fanIn) / 2);
    for (let i = 0; i < scales.length; i++) {
      const part = weight.subarray(i * block, (i + 1) * block);
      const scale = Math.fround(Math.max(...part.map(Math.abs)) / 7);
      scales[i] = scale;
      part.forEach((number, j) => {
        bytes[(i * block + j) >> 1] =
          (bytes[(i * block + j) >> 1] as number) | ((Math.round(number / scale) + 8) << (4 * (j % 2)));
      });
    }
    const packed = Tensor.of(`${name}.weight_Q4`, "uint8", [units, blocks, block / 2], bytes);
    const inputs = [
      x,
      this.#graph.addInitializer(packed),
      this.#graph.addInitializer(Tensor.float(`${name}.weight_scales`, [units, blocks], scales)),
    ];
    const attributes = { K: int(fanIn), N: int(units), bits: int(4), block_size: int(block) };
    return this.#node(name, "com.microsoft.MatMulNBits", inputs, attributes);
  }
}
