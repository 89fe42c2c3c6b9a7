import { rules } from "../../../src/autodiff/table.ts";
import { backward } from "../../../src/autodiff/walk.ts";
import { type Typed, typed } from "../../../src/graph/emit-base.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import type { Node, Value } from "../../../src/graph/node.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { setBatchNormForm } from "../../../src/passes/training/batch-norm.ts";
import { checkpointSegments } from "../../../src/passes/training/checkpoint-segments.ts";
import { mixedPrecision } from "../../../src/passes/training/mixed-precision.ts";
import { recomputeActivations } from "../../../src/passes/training/recompute-activations.ts";
import { storeAsRead } from "../../../src/passes/training/store-as-read.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import { passContext } from "../../helpers/pass-context.ts";
import { flag, type Makers, vector } from "../pass-case.ts";

/** Keys of a decoder behind those of former tokens. */
function withCache(): Graph {
  const b = new GraphBuilder();
  const tokens = b.input("input_ids", ["batch", "sequence"], "int64");
  const mask = b.input("attention_mask", ["batch", "past + sequence"], "int64");
  const past = b.input("past_key_values.0.key", ["batch", 2, "past", 3]);
  const fresh = b.op("Gather", [b.weight("table", [5, 2, 3]), tokens], "keys");
  const keys = b.op("Transpose", [fresh], "by_head", { perm: [0, 2, 1, 3] });
  const present = b.op("Concat", [past, keys], "present.0.key", { axis: 2 });
  return b.output(b.op("Relu", [present], "y"), b.op("Identity", [mask], "seen"), present);
}

function batchNorm(): Graph {
  const b = new GraphBuilder();
  const numbers = ["scale", "bias", "mean", "variance"].map((name, i) => vector(b, name, [1 + i, 2 + i]));
  return b.output(b.op("BatchNormalization", [b.input("x", [4, 2, 3]), ...numbers], "y", { momentum: 0.8 }));
}

/** Small graphs for the passes of src/passes/training. */
export const trainingCases = {
  writeOutAttention: () => {
    const b = new GraphBuilder(18, { "com.microsoft": 1 });
    const tables = ["cosines", "sines"].map((name) => b.weight(name, [4, 8]));
    const inputs = [
      ...[b.input("qkv", [2, 3, 64]), null, null, null, null],
      ...[b.input("lengths", [2], "int32"), b.input("total", [], "int32"), ...tables],
    ];
    const attributes = { num_heads: 2, kv_num_heads: 1, do_rotary: 1 };
    const [y] = b.many("GroupQueryAttention", inputs, ["y", "k", "v"], attributes, "com.microsoft");
    return b.output(y as Value);
  },
  recognizeActivations: () => {
    const b = new GraphBuilder();
    const x = b.input("x", [2, 3]);
    const number = (name: string, value: number) => b.graph.addInitializer(Tensor.float(name, [], [value]));
    const erf = b.op("Erf", [b.op("Div", [x, number("root", Math.SQRT2)], "z")], "erf");
    const inner = b.op("Mul", [x, b.op("Add", [erf, number("one", 1)], "above")], "inner");
    const gelu = b.op("Mul", [inner, number("half", 0.5)], "gelu");
    return inferred(b.output(b.op("Mul", [gelu, b.op("Sigmoid", [gelu], "gate")], "swish")));
  },
  recognizeLayerNormalization: () => {
    const b = new GraphBuilder();
    const x = b.input("x", [2, 3, 4]);
    const last = b.int64("last", [-1]);
    const written = (from: Value, name: string) => {
      const centred = b.op(
        "Sub",
        [from, b.op("ReduceMean", [from, last], `${name}.mean`)],
        `${name}.centred`,
      );
      const square = b.op(
        "Pow",
        [centred, b.graph.addInitializer(Tensor.float(`${name}.two`, [], [2]))],
        `${name}.square`,
      );
      const variance = b.op("ReduceMean", [square, last], `${name}.variance`);
      const epsilon = b.graph.addInitializer(Tensor.float(`${name}.epsilon`, [], [1e-5]));
      const deviation = b.op("Sqrt", [b.op("Add", [variance, epsilon], `${name}.safe`)], `${name}.deviation`);
      return b.op("Div", [centred, deviation], `${name}.unit`);
    };
    const scaled = b.op("Mul", [written(x, "a"), vector(b, "scale", [1, 2, 3, 4])], "scaled");
    const y = b.op("Add", [scaled, vector(b, "bias", [5, 6, 7, 8])], "y");
    return inferred(b.output(written(y, "b")));
  },
  writeOutActivations: () => {
    const b = new GraphBuilder();
    const x = b.input("x", [2, 3]);
    const gelu = b.op("Gelu", [x], "gelu");
    const swish = b.op("Swish", [gelu], "swish", { alpha: 2 });
    for (const value of [x, gelu, swish]) Object.assign(value, { type: "float", shape: [2, 3] });
    return b.output(swish);
  },
  setBatchNormForm: batchNorm,
  lowerBatchNorm: async () => {
    const graph = batchNorm();
    setBatchNormForm().run(graph);
    return inferred(graph);
  },
  replaceDropout: () => {
    const b = new GraphBuilder();
    const ratio = b.graph.addInitializer(Tensor.float("ratio", [], [0.25]));
    return inferred(b.output(b.op("Neg", [b.op("Dropout", [b.input("x", [2, 3]), ratio], "d")], "y")));
  },
  replaceDraws: () => {
    const b = new GraphBuilder();
    const x = b.input("x", [2, 3]);
    const noise = b.op("RandomNormalLike", [x], "noise", { scale: 0.5, mean: 1.5 });
    const y = b.op("Add", [noise, b.op("RandomUniform", [], "u", { shape: [3] })], "y");
    return inferred(b.output(y, b.op("Multinomial", [x], "classes", { sample_size: 4 })));
  },
  emptyCache: () => withCache(),
  stopDropout: () => {
    const b = new GraphBuilder();
    const ratio = b.graph.addInitializer(Tensor.float("ratio", [], [0.25]));
    return b.output(b.op("Dropout", [b.input("x", [2, 3]), ratio, flag(b, "training", true)], "y"));
  },
  stillStatistics: () => {
    const b = new GraphBuilder();
    const numbers = ["scale", "bias", "mean", "variance"].map((name, i) => vector(b, name, [1 + i, 2 + i]));
    const x = b.input("x", [4, 2]);
    const form = { training_mode: 1, momentum: 0.8 };
    const [y] = b.many("BatchNormalization", [x, ...numbers], ["y", "m", "v"], form);
    const [z, mean] = b.many("BatchNormalization", [x, ...numbers], ["z", "read", "hidden"], form);
    return b.output(y as Value, z as Value, mean as Value);
  },
  attentionBias: () => {
    const b = new GraphBuilder(21, { "com.microsoft": 1 });
    const read = [b.input("x", [1, 2, 4]), b.weight("w", [4, 12])];
    return b.output(b.op("Attention", read, "y", { num_heads: 2 }, "com.microsoft"));
  },
  // x [2, 3, 4] by a vector over its second axis, as PyTorch exports x.mT @ v.
  vectorProducts: () => {
    const b = new GraphBuilder();
    const t = b.op("Transpose", [b.input("x", [2, 3, 4])], "t", { perm: [0, 2, 1] });
    return b.output(b.op("MatMul", [t, b.weight("v", [3])], "y"));
  },
  poolBeforeRelu: () => {
    const b = new GraphBuilder();
    const r = b.op("Relu", [b.input("x", [1, 2, 4, 4])], "r");
    return b.output(b.op("Neg", [b.op("MaxPool", [r], "p", { kernel_shape: [2, 2] })], "y"));
  },
  // As PyTorch exports outputs[:, -1] of an LSTM with batch_first.
  readFinalState: () => {
    const b = new GraphBuilder();
    const weights = [b.weight("w", [1, 8, 3]), b.weight("r", [1, 8, 2])];
    const y = b.op("LSTM", [b.input("x", [4, 5, 3]), ...weights], "y", { hidden_size: 2 });
    const turned = b.op("Transpose", [b.op("Squeeze", [y, b.int64("one", [1])], "steps")], "turned", {
      perm: [1, 0, 2],
    });
    const at = (name: string, step: number) =>
      b.op("Gather", [turned, b.int64(name, step)], `${name} step`, { axis: 1 });
    return inferred(b.output(b.op("Relu", [at("last", -1)], "l"), b.op("Relu", [at("first", 0)], "f")));
  },
  // w is read in one form, v in two.
  storeAsRead: async () => {
    const b = new GraphBuilder();
    const weights = [b.input("w", [3, 2, 2]), b.input("v", [4, 4])] as const;
    const turned = weights.map((weight, i) =>
      b.op("Transpose", [weight], `${weight.name} turned`, { perm: i === 0 ? [1, 2, 0] : [1, 0] }),
    ) as [Value, Value];
    const w = b.op("Reshape", [turned[0], b.int64("dims", [4, 3])], "w read");
    const h = b.op("MatMul", [b.input("x", [5, 4]), b.op("MatMul", [turned[1], weights[1]], "vv")], "h");
    const graph = await inferred(b.output(b.op("MatMul", [h, w], "y")));
    return { graph, pass: storeAsRead({ weights }) };
  },
  // The gradient of w reads relu h and tanh h: keeping h alone is less.
  recomputeActivations: async () => {
    const b = new GraphBuilder();
    const h = b.op("Add", [b.input("x", [64, 32]), b.weight("b", [32])], "h");
    const w = b.weight("w", [32, 8]);
    const products = ["Relu", "Tanh"].map((op) => b.op("MatMul", [b.op(op, [h], op), w], `${op} w`));
    const graph = await inferred(b.output(b.op("Add", products, "y")));
    const context = passContext(graph);
    const { emit } = context;
    const arrivals = new Map<Node, Typed>();
    const y = typed(graph.valueNamed("y"));
    const dy = typed(graph.addInput("dy", "float", y.shape));
    const wrt = [w, graph.valueNamed("b")];
    const gradients = backward(graph, {
      wrt,
      seeds: [{ value: y, gradient: () => dy }],
      rules,
      emit,
      arrivals,
    });
    for (const gradient of gradients.values()) graph.addOutput(gradient);
    return { graph, context, pass: recomputeActivations({ arrivals }) };
  },
  checkpointSegments: async () => {
    const b = new GraphBuilder();
    const weights = ["w0", "w1", "w2"].map((name) => b.weight(name, [4, 4]));
    let x = b.input("x", [8, 4]);
    for (const [i, w] of weights.entries())
      x = b.op("Tanh", [b.op("Sin", [b.op("MatMul", [x, w], `p${i}`)], `s${i}`)], `h${i}`);
    const graph = await inferred(b.output(x));
    const context = passContext(graph);
    const arrivals = new Map<Node, Typed>();
    const dy = typed(graph.addInput("dy", "float", [8, 4]));
    const seeds = [{ value: x, gradient: () => dy }];
    const gradients = backward(graph, { ...{ wrt: weights, seeds, rules, arrivals }, emit: context.emit });
    for (const gradient of gradients.values()) graph.addOutput(gradient);
    const given = new Set([dy as Value]);
    return {
      ...{ graph, context },
      pass: checkpointSegments({ every: 1, arrivals, gradients, seeds: [x], weights: given }),
    };
  },
  widenHalf: () => {
    const b = new GraphBuilder();
    const half = (name: string, dims: readonly number[], bits: readonly number[]) =>
      b.graph.addInitializer(Tensor.of(name, "float16", dims, Uint16Array.from(bits)));
    const y = b.op("MatMul", [b.input("x", [1, 2], "float16"), half("w", [2, 1], [0x3c00, 0xb800])], "y");
    return b.output(b.op("Cast", [b.op("Cast", [y], "z", { to: 1 })], "r", { to: 10 }));
  },
  exactProducts: () => {
    const b = new GraphBuilder(21, { "com.microsoft": 1 });
    const bytes = b.graph.addInitializer(Tensor.of("bytes", "uint8", [2, 1, 8], new Uint8Array(16)));
    const read = [b.input("x", [1, 16]), bytes, vector(b, "scales", [0.5, 0.25])];
    const sizes = { K: 16, N: 2, bits: 4, block_size: 16, accuracy_level: 4 };
    return b.output(b.op("MatMulNBits", read, "y", sizes, "com.microsoft"));
  },
  writeOutQuantizers: async () => {
    const b = new GraphBuilder();
    const bytes = (name: string, type: "int8" | "uint8", dims: readonly number[], ...numbers: number[]) =>
      b.graph.addInitializer(
        Tensor.of(name, type, dims, type === "int8" ? Int8Array.from(numbers) : Uint8Array.from(numbers)),
      );
    const scale = (name: string, number: number) => b.graph.addInitializer(Tensor.float(name, [], [number]));
    const [s, z] = [scale("s", 0.1), bytes("z", "uint8", [], 3)];
    const q = b.op("QuantizeLinear", [b.input("x", [2, 3]), s, z], "q");
    const w = [bytes("w", "int8", [3, 2], 1, -2, 3, -4, 5, -6), vector(b, "ws", [0.5, 0.25])];
    const read = [q, s, z, ...w, bytes("wz", "int8", [2], 0, 1), s, z];
    const product = b.op("QLinearMatMul", read, "product");
    return inferred(b.output(b.op("DequantizeLinear", [product, s, z], "y")));
  },
  mixedPrecision: async () => {
    const b = new GraphBuilder();
    const [w, c, v] = [b.weight("w", [3, 4]), b.weight("c", [4]), b.weight("v", [4, 2])];
    const h = b.op("Add", [b.op("MatMul", [b.input("x", [2, 3]), w], "p"), c], "h");
    const dropped = b.op("Mul", [b.op("Relu", [h], "r"), b.input("mask", [2, 4])], "dropped");
    const y = b.op("MatMul", [dropped, v], "y");
    const z = b.op("MatMul", [b.op("Add", [h, vector(b, "small", [1e-9])], "shifted"), v], "z");
    const graph = await inferred(b.output(b.op("Softmax", [y], "s"), z));
    return { graph, pass: mixedPrecision({ parameters: [w, c, v], masks: [graph.valueNamed("mask")] }) };
  },
} satisfies Makers;
