import { expect, test } from "vitest";
import type { Value } from "../../../src/graph/node.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { Model } from "../../../src/onnx/model.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { differentiate } from "../../../src/programs/differentiate.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { randomFloats } from "../../helpers/numbers.ts";

const shape = [2, 3, 4];
const x = randomFloats("recognized x", 24, -3, 3);
const weights = randomFloats("recognized weights", 24);
const scale = randomFloats("recognized scale", 4, 0.5, 2);
const bias = randomFloats("recognized bias", 4);

class Writer extends GraphBuilder {
  #count = 0;
  /** A node; operands are values or numbers. */
  node(op: string, ...operands: (Value | number)[]): Value {
    const inputs = operands.map((operand) =>
      typeof operand === "number"
        ? this.graph.addInitializer(Tensor.float(`n${this.#count++}`, [], [operand]))
        : operand,
    );
    return this.op(op, inputs, `${op}${this.#count++}`);
  }
  vector = (name: string, numbers: Float32Array): Value =>
    this.graph.addInitializer(Tensor.float(name, [4], [...numbers]));
  mean = (from: Value, axis = -1): Value =>
    this.op("ReduceMean", [from], `mean${this.#count++}`, { axes: [axis] });
  /** (x − mean)/√(variance + ε); the variance along another axis is no LayerNormalization. */
  standardized(from: Value, axis = -1): Value {
    const centred = this.node("Sub", from, this.mean(from));
    const variance = this.mean(this.node("Mul", centred, centred), axis);
    return this.node("Div", centred, this.node("Sqrt", this.node("Add", variance, 1e-5)));
  }
}

/** erf by its series, exact to 1e-12 for |x| < 3. */
function erf(t: number): number {
  let [term, sum] = [t, t];
  for (let n = 1; n < 80; n++) {
    term *= (-t * t) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
const gelu = (v: number) => 0.5 * v * (1 + erf(v / Math.SQRT2));
const swish = (alpha: number) => (v: number) => v / (1 + Math.exp(-alpha * v));
const onEach = (f: (v: number) => number) => (values: number[]) => values.map(f);
/** Along the last axis, with the variance along axis `over`. */
const standardized = (values: number[], over = 2): number[] => {
  const mean = (of: number[], i: number, step: number, count: number) => {
    const start = i - (Math.floor(i / step) % count) * step;
    return (
      Array.from({ length: count }, (_, k) => of[start + k * step] ?? 0).reduce((a, b) => a + b, 0) / count
    );
  };
  const centred = values.map((v, i) => v - mean(values, i, 1, 4));
  const squares = centred.map((v) => v * v);
  const [step, count] = over === 2 ? [1, 4] : [4, 3];
  return centred.map((v, i) => v / Math.sqrt(mean(squares, i, step, count) + 1e-5));
};
const affine = (values: number[], b = true) =>
  values.map((v, i) => v * (scale[i % 4] ?? 0) + (b ? (bias[i % 4] ?? 0) : 0));

const root = (g: Writer, v: Value) => g.node("Add", g.node("Erf", g.node("Div", v, Math.SQRT2)), 1);
/** How the function is written, what it computes, and an operator that the gradient graph has if it was recognized. */
const cases: [string, (g: Writer, v: Value) => Value, (values: number[]) => number[], string, boolean][] = [
  [
    "Gelu, x·(1 + erf)·½",
    (g, v) => g.node("Mul", g.node("Mul", v, root(g, v)), 0.5),
    onEach(gelu),
    "HardSigmoid",
    true,
  ],
  [
    "Gelu, (½·x)·(1 + erf)",
    (g, v) => g.node("Mul", g.node("Mul", 0.5, v), root(g, v)),
    onEach(gelu),
    "HardSigmoid",
    true,
  ],
  [
    "Gelu, x·(½·(1 + erf))",
    (g, v) => g.node("Mul", v, g.node("Mul", root(g, v), 0.5)),
    onEach(gelu),
    "HardSigmoid",
    true,
  ],
  [
    "Gelu with another factor",
    (g, v) => g.node("Mul", g.node("Mul", v, root(g, v)), 0.4),
    onEach((v) => 0.8 * gelu(v)),
    "HardSigmoid",
    false,
  ],
  [
    "Gelu of another value",
    (g, v) => g.node("Mul", g.node("Mul", g.node("Neg", v), root(g, v)), 0.5),
    onEach((v) => -gelu(v)),
    "HardSigmoid",
    false,
  ],
  ["Swish", (g, v) => g.node("Mul", v, g.node("Sigmoid", v)), onEach(swish(1)), "Sigmoid", true],
  [
    "Swish with α",
    (g, v) => g.node("Mul", g.node("Sigmoid", g.node("Mul", 1.7, v)), v),
    onEach(swish(1.7)),
    "Sigmoid",
    true,
  ],
  [
    "LayerNormalization",
    (g, v) =>
      g.node("Add", g.node("Mul", g.standardized(v), g.vector("scale", scale)), g.vector("bias", bias)),
    (v) => affine(standardized(v)),
    "LayerNormalization",
    true,
  ],
  [
    "LayerNormalization without bias",
    (g, v) => g.node("Mul", g.vector("scale", scale), g.standardized(v)),
    (v) => affine(standardized(v), false),
    "LayerNormalization",
    true,
  ],
  [
    "LayerNormalization without scale",
    (g, v) => g.standardized(v),
    (v) => standardized(v),
    "LayerNormalization",
    true,
  ],
  [
    "variance along another axis",
    (g, v) => g.standardized(v, 1),
    (v) => standardized(v, 1),
    "LayerNormalization",
    false,
  ],
];

test.each(cases)(
  "%s, written in small operators: the gradient is right",
  async (_, write, reference, op, recognized) => {
    const g = new Writer(16);
    const weighted = g.node(
      "Mul",
      write(g, g.input("x", shape)),
      g.graph.addInitializer(Tensor.float("c", shape, [...weights])),
    );
    g.output(g.op("ReduceSum", [weighted], "loss", { keepdims: 0 }));
    const { model, gradients } = await differentiate(
      Model.fromProto(graphToProto(g.graph, { irVersion: 8 })),
      { loss: "loss", wrtInputs: /^x$/, freeze: /./ },
      nodeProbe,
    );
    expect(model.proto.graph?.node?.some(({ opType }) => opType === op)).toBe(recognized);

    const outputs = await nodeProbe.run(model.bytes, new Map([["x", Tensor.float("x", shape, [...x])]]));
    const gradient = outputs.get(gradients.get("x") ?? "")?.numbers() ?? [];
    const loss = (values: number[]) =>
      reference(values).reduce((sum, y, i) => sum + y * (weights[i] ?? 0), 0);
    const slopes = Array.from(x, (_value, i) => {
      const at = (step: number) => loss(Array.from(x, (value, j) => (i === j ? value + step : value)));
      return (at(1e-5) - at(-1e-5)) / 2e-5;
    });
    expect(Math.max(...slopes.map((slope, i) => Math.abs(slope - (gradient[i] ?? Number.NaN))))).toBeLessThan(
      3e-6,
    );
  },
);
