import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  type DifferentiateOptions,
  differentiate,
  type GradientModel,
  Model,
  readModel,
  Tensor,
} from "../../src/index.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { uniform } from "../helpers/lcg.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

const figures = JSON.parse(readFileSync("test/fixtures/jacobians.json", "utf8"));
const shapes = { x: [2, 3], w: [3, 4], b: [4], v: [4, 2] };
const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const double = (name: string, shape: readonly number[], as = name) =>
  Tensor.of(as, "double", shape, Float64Array.from(uniform(`jacobian.${name}`, count(shape))));
const near = (found: ArrayLike<number> = [], expected: readonly number[]) => {
  expect(found).toHaveLength(expected.length);
  expected.forEach((number, i) => {
    expect(Math.abs((found[i] ?? Number.NaN) - number)).toBeLessThan(1e-12);
  });
};
const run = ({ model }: GradientModel, feeds: readonly Tensor[]) =>
  nodeProbe.run(model.bytes, new Map(feeds.map((tensor) => [tensor.name, tensor])));

/** y = softmax(LayerNorm(tanh(x·w + b) · x̄) · v) in float64, as scripts/oracles/jacobians.py has it; all of it inputs. */
function network(): Model {
  const b = new GraphBuilder(18);
  const [x, w, bias, v] = Object.entries(shapes).map(([name, shape]) => b.input(name, shape, "double")) as [
    Value,
    Value,
    Value,
    Value,
  ];
  const mean = b.op("ReduceMean", [x, b.int64("last", [1])], "mean");
  const h = b.op(
    "Mul",
    [b.op("Tanh", [b.op("Add", [b.op("MatMul", [x, w], "p"), bias], "s")], "t"), mean],
    "h",
  );
  const scale = b.graph.addInitializer(Tensor.of("scale", "double", [4], new Float64Array(4).fill(1)));
  const normal = b.op("LayerNormalization", [h, scale], "n", { epsilon: 2 ** -16 });
  b.output(b.op("Softmax", [b.op("MatMul", [normal, v], "l")], "y", { axis: 1 }));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
}

describe("beside torch.func", () => {
  const inputs = Object.entries(shapes).map(([name, shape]) => double(name, shape));
  const wrt = /^[xwbv]$/;

  test("a vector-Jacobian product", async () => {
    const made = await differentiate(network(), { vjp: true, wrt });
    expect([made.loss, ...made.seeds]).toEqual(["", ["y", "y_seed"]]);
    const results = await run(made, [...inputs, double("seed", [2, 2], "y_seed")]);
    expect([...results.keys()]).toEqual(["y", "x_grad", "w_grad", "b_grad", "v_grad"]);
    for (const name of Object.keys(shapes)) near(results.get(`${name}_grad`)?.numbers(), figures.vjp[name]);
  });

  test("a Jacobian-vector product", async () => {
    const made = await differentiate(network(), { jvp: true, wrt });
    expect([...made.tangents.values()]).toEqual(["x_tangent", "w_tangent", "b_tangent", "v_tangent"]);
    const tangents = Object.entries(shapes).map(([name, shape]) =>
      double(`tangent.${name}`, shape, `${name}_tangent`),
    );
    const results = await run(made, [...inputs, ...tangents]);
    expect([...results.keys()]).toEqual(["y", "y_tangent"]);
    near(results.get("y_tangent")?.numbers(), figures.jvp);
  });

  test("a Jacobian", async () => {
    const made = await differentiate(network(), { jacobian: true, wrt: /^x$/ });
    const result = (await run(made, inputs)).get(made.jacobians.get("x") ?? "");
    expect(result?.dims).toEqual([2, 2, 2, 3]);
    near(result?.numbers(), figures.jacobian);
  });
});

describe("an inner value", () => {
  const cnn = { options: { batch: 2, vjp: true } satisfies DifferentiateOptions, model: {} as Model };
  beforeAll(async () => {
    cnn.model = await readModel("models/cnn.onnx");
  });
  const names = async (wrt: RegExp) => [
    ...(await differentiate(cnn.model, { ...cnn.options, wrt })).gradients.keys(),
  ];

  test.each<[RegExp, string[]]>([
    [/^(x|relu5|conv1\.weight)$/, ["conv1.weight", "x", "relu5"]],
    [/relu5/, ["relu5"]],
    [/relu[45]/g, ["relu4", "relu5"]],
    // The name of a layer means its parameters; written from ^ to $, the value too.
    [/conv5/, ["conv5.weight"]],
    [/^conv5$/, ["conv5.weight", "conv5"]],
    [/^logits$/, ["logits.weight", "logits.bias", "logits"]],
  ])("%s means %s", async (wrt, expected) => {
    expect(await names(wrt)).toEqual(expected);
  });

  test("has its gradient in both modes and as a Jacobian: ⟨v, Ju⟩ = ⟨Jᵀv, u⟩ in the sample network", async () => {
    const { model, options } = cnn;
    const wrt = /^(x|relu3|conv4\.weight)$/;
    const floats = (name: string, dims: readonly number[]) =>
      Tensor.float(name, dims, randomFloats(name, count(dims)));
    const feeds = { x: floats("x", [2, 1, 28, 28]) };
    const u = {
      x_tangent: floats("x_tangent", [2, 1, 28, 28]),
      relu3_tangent: floats("relu3_tangent", [2, 16, 14, 14]),
      "conv4.weight_tangent": floats("conv4.weight_tangent", [32, 16, 3, 3]),
    };
    const logits_seed = floats("logits_seed", [2, 10]);
    const [vjp, jvp, jacobian] = await Promise.all([
      differentiate(model, { ...options, wrt }),
      differentiate(model, { batch: 2, jvp: true, wrt }),
      differentiate(model, { batch: 2, jacobian: true, wrt: /^relu5$/ }),
    ]);
    const [reverse, ahead, whole] = await Promise.all([
      runModel(vjp.model.bytes, { ...feeds, logits_seed }),
      runModel(jvp.model.bytes, { ...feeds, ...u }),
      runModel(jacobian.model.bytes, feeds),
    ]);
    const dot = (a: Tensor | undefined, b: Tensor | undefined) =>
      Array.from(a?.numbers() ?? []).reduce(
        (sum, number, i) => sum + number * (b?.numbers()[i] ?? Number.NaN),
        0,
      );
    const backward = ["x", "relu3", "conv4.weight"]
      .map((name) => dot(reverse?.[`${name}_grad`], u[`${name}_tangent` as keyof typeof u]))
      .reduce((a, b) => a + b);
    expect(Math.abs(dot(ahead?.logits_tangent, logits_seed) - backward) / Math.abs(backward)).toBeLessThan(
      1e-4,
    );
    expect(ahead?.logits?.numbers()).toEqual(reverse?.logits?.numbers());
    // The layers behind relu5 are pooling and one product: ∂logit/∂relu5 is the weight by the number of places.
    const weight = Tensor.fromProto(
      model.proto.graph?.initializer?.find(({ name }) => name === "logits.weight") ?? {},
    ).numbers();
    const rows = whole?.relu5_jacobian;
    expect(rows?.dims).toEqual([2, 10, 2, 32, 7, 7]);
    for (const [n, c, m, k, place] of [
      [0, 3, 0, 5, 0],
      [1, 9, 1, 31, 48],
      [0, 3, 1, 5, 0],
    ] as const) {
      const found = rows?.numbers()[(((n * 10 + c) * 2 + m) * 32 + k) * 49 + place];
      expect(found).toBeCloseTo(n === m ? (weight[c * 32 + k] ?? Number.NaN) / 49 : 0, 6);
    }
  });

  test.each([
    ["mlp", "x", [2, 1, 28, 28], "relu1", [2, 128]],
    ["pointnet", "points", [2, 3, 128], "relu2", [2, 64, 128]],
  ] as const)("⟨v, Ju⟩ = ⟨Jᵀv, u⟩ in %s", async (file, input, shape, inner, innerShape) => {
    const model = await readModel(`models/${file}.onnx`);
    const wrt = new RegExp(`^(${input}|${inner})$`);
    const floats = (name: string, dims: readonly number[]) =>
      Tensor.float(name, dims, randomFloats(name, count(dims)));
    const x = { [input]: floats(input, shape) };
    const u = [floats(`${input}_tangent`, shape), floats(`${inner}_tangent`, innerShape)] as const;
    const [vjp, jvp] = [
      await differentiate(model, { batch: 2, vjp: true, wrt }),
      await differentiate(model, { batch: 2, jvp: true, wrt }),
    ];
    const seed = floats("seed", [2, 10]);
    const reverse = await runModel(vjp.model.bytes, { ...x, logits_seed: seed });
    const ahead = await runModel(jvp.model.bytes, { ...x, ...Object.fromEntries(u.map((t) => [t.name, t])) });
    const dot = (a: Tensor | undefined, b: Tensor) =>
      Array.from(b.numbers()).reduce((sum, number, i) => sum + number * Number(a?.numbers()[i]), 0);
    const backward = dot(reverse[`${input}_grad`], u[0]) + dot(reverse[`${inner}_grad`], u[1]);
    expect(backward).not.toBe(0);
    expect(Math.abs(dot(ahead.logits_tangent, seed) - backward) / Math.abs(backward)).toBeLessThan(1e-4);
  });

  /** Rewrites for gradients merge these operators with others; the value in their middle has its gradient all the same. */
  const merged: Readonly<
    Record<string, (b: GraphBuilder, x: Value) => { v: Value; y: Value; slope: (x: number) => number }>
  > = {
    "the Sigmoid of a Swish": (b, x) => {
      const v = b.op("Sigmoid", [x], "v");
      return { v, y: b.op("Mul", [x, v], "y"), slope: (number) => number };
    },
    "the Erf of a Gelu": (b, x) => {
      const part = (value: number, name: string) => b.graph.addInitializer(Tensor.float(name, [], [value]));
      const v = b.op("Erf", [b.op("Div", [x, part(Math.SQRT2, "root")], "d")], "v");
      const one = b.op("Add", [v, part(1, "one")], "a");
      return {
        v,
        y: b.op("Mul", [b.op("Mul", [x, one], "m"), part(0.5, "half")], "y"),
        slope: (number) => number / 2,
      };
    },
    "a Dropout of inference, whose input has another reader": (b, x) => {
      const h = b.op("Mul", [x, x], "h");
      const v = b.op("Dropout", [h], "v");
      return { v, y: b.op("Add", [b.op("Mul", [v, x], "p"), h], "y"), slope: (number) => number };
    },
  };
  test.each(Object.entries(merged))("%s", async (_, build) => {
    const b = new GraphBuilder(18);
    const { y, slope } = build(b, b.input("x", [4]));
    b.output(y);
    const model = Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
    const numbers = [0.5, -1, 2, 0.1];
    const made = await differentiate(model, { vjp: true, wrt: /^v$/ });
    const { v_grad } = await runModel(made.model.bytes, {
      x: Tensor.float("x", [4], numbers),
      y_seed: Tensor.float("y_seed", [4], [1, 1, 1, 1]),
    });
    numbers.forEach((number, i) => {
      expect(v_grad?.numbers()[i]).toBeCloseTo(slope(number), 6);
    });
  });

  test.each<[DifferentiateOptions, string]>([
    [{ vjp: true, of: ["first"] }, "first"],
    [{ jvp: true, of: ["second"] }, "second"],
    [{ jacobian: true, of: ["second"] }, "second"],
    [{ vjp: true, of: ["deep"] }, "deep"],
    [{ jvp: true }, "first"],
  ])("a refusal for %s says which output the path leads to: there is no loss", async (options, end) => {
    const b = new GraphBuilder(18);
    const x = b.input("x", [3, 3]);
    const scale = b.graph.addInitializer(Tensor.float("scale", [], [0.1]));
    const back = b.op("DequantizeLinear", [b.op("QuantizeLinear", [x, scale], "bytes"), scale], "deep");
    b.output(b.op("Relu", [back], "first"), b.op("Tanh", [back], "second"));
    const model = Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
    const refused = differentiate(model, { ...options, wrt: /^x$/ });
    await expect(refused).rejects.toThrow(new RegExp(`on the path x → .* → ${end}(;| |$)`));
  });

  test.each<[DifferentiateOptions, RegExp]>([
    [{ vjp: true, jvp: true }, /--vjp and --jvp are two graphs/],
    [{ vjp: true, loss: "logits" }, /differentiates outputs of the model, and no loss: leave --loss out/],
    [{ jvp: true, output: "logits" }, /leave --prediction out \(--of names the outputs\)/],
    [{ jvp: true, recompute: true }, /--recompute belongs to gradients, not to --jvp/],
    [{ vjp: true, of: ["scores"] }, /no value "scores"; its outputs are "logits"/],
    [{ vjp: true, of: ["x"] }, /"x" is computed by no node, so it is no output/],
    [{ vjp: true, of: [] }, /no output is named/],
    [{ of: ["logits"], loss: "logits" }, /\(--of\) belong to --vjp, --jvp and --jacobian/],
    [{ jacobian: true, of: ["logits", "pool"] }, /a Jacobian is that of one output: name it/],
    [
      { jacobian: true, of: ["relu1"], wrt: /^x$/ },
      /Jacobian of "relu1" \(50176 numbers\) would have 629407744 numbers, above the limit/,
    ],
    [{ vjp: true, wrt: /nothing/ }, /no parameter matches \/nothing\/, and no input or inner value/],
  ])("refuses %s", async (options, reason) => {
    const batch = options.jacobian && options.of?.[0] === "relu1" ? 16 : 2;
    await expect(differentiate(cnn.model, { batch, ...options })).rejects.toThrow(reason);
  });
});
