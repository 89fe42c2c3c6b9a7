import { describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { Model } from "../../src/onnx/model.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { som } from "../../src/penalties/som.ts";
import type { Precision } from "../../src/programs/options.ts";
import { buildStep } from "../../src/programs/step.ts";
import { cpuBackend } from "../../src/runtime/cpu-node.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { modelFixture } from "../oracles/references.ts";
import { gradientItself, StepRunner } from "../oracles/step-runner.ts";

/** One block of a transformer as exporters write it: attention, Gelu by Erf, LayerNormalization, residuals. */
function transformer(): Model {
  const b = new GraphBuilder(18);
  const [tokens, width, heads] = [6, 16, 2];
  const layer = (x: ReturnType<GraphBuilder["op"]>, name: string, from: number, to: number) =>
    b.op(
      "Add",
      [
        b.op("MatMul", [x, b.weight(`${name}.weight`, [from, to])], `${name}.p`),
        b.weight(`${name}.bias`, [to]),
      ],
      name,
    );
  const norm = (x: ReturnType<GraphBuilder["op"]>, name: string) =>
    b.op(
      "LayerNormalization",
      [x, b.weight(`${name}.weight`, [width]), b.weight(`${name}.bias`, [width])],
      name,
      { axis: -1 },
    );
  const scalar = (name: string, value: number) => b.graph.addInitializer(Tensor.float(name, [], [value]));
  const split = (x: ReturnType<GraphBuilder["op"]>, name: string, perm: readonly number[]) =>
    b.op(
      "Transpose",
      [b.op("Reshape", [x, b.int64(`${name}.to`, [0, tokens, heads, width / heads])], `${name}.r`)],
      name,
      { perm },
    );
  const x = layer(b.input("x", [4, tokens, 8]), "embed", 8, width);
  const h = norm(x, "norm1");
  const [q, k, v] = ["q", "k", "v"].map((name) =>
    split(layer(h, name, width, width), `${name}.heads`, name === "k" ? [0, 2, 3, 1] : [0, 2, 1, 3]),
  ) as [typeof x, typeof x, typeof x];
  const scores = b.op(
    "Div",
    [b.op("MatMul", [q, k], "qk"), scalar("root", Math.sqrt(width / heads))],
    "scores",
  );
  const mixed = b.op("MatMul", [b.op("Softmax", [scores], "shares", { axis: -1 }), v], "mixed");
  const joined = b.op(
    "Reshape",
    [b.op("Transpose", [mixed], "back", { perm: [0, 2, 1, 3] }), b.int64("join", [0, tokens, width])],
    "joined",
  );
  const y = b.op("Add", [x, layer(joined, "out", width, width)], "y");
  const u = layer(norm(y, "norm2"), "up", width, 32);
  const erf = b.op("Erf", [b.op("Div", [u, scalar("root2", Math.SQRT2)], "u2")], "erf");
  const gelu = b.op(
    "Mul",
    [b.op("Mul", [u, b.op("Add", [erf, scalar("one", 1)], "e1")], "ue"), scalar("half", 0.5)],
    "gelu",
  );
  const z = b.op("Add", [y, layer(gelu, "down", 32, width)], "z");
  b.output(
    layer(b.op("ReduceMean", [z, b.int64("axes", [1])], "pooled", { keepdims: 0 }), "head", width, 10),
  );
  return Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
}

const networks = {
  mlp: () => modelFixture("training/mlp.onnx"),
  cnn: () => modelFixture("training/cnn.onnx"),
  transformer,
} as const;

/** The loss and the gradients of a first step, all parameters end to end. */
async function firstStep(network: keyof typeof networks, precision: Precision, weight: number) {
  const step = await buildStep(
    networks[network](),
    {
      ...{ objective: crossEntropy(), optimizer: gradientItself, precision },
      ...(weight > 0 && { penalties: [{ penalty: som(), weight }] }),
      lower: await cpuBackend.lowering(),
    },
    nodeProbe,
  );
  const runner = await StepRunner.create(step);
  const shape = step.ports.inputs[0]?.shape ?? [];
  const { loss } = await runner.run(
    uniform(inputs[network], elementCount(shape)),
    labels("mixed y", shape[0] ?? 1, 10),
    {
      ...{ learningRate: 0, penaltyWeight: weight },
    },
  );
  const gradients = step.ports.parameters.flatMap(({ name }) => runner.state(name));
  await runner.release();
  return { loss, gradients };
}

const distance = (a: readonly number[], b: readonly number[]) =>
  Math.hypot(...a.map((value, i) => value - (b[i] ?? Number.NaN))) / Math.hypot(...b);

/** Blocks of numbers on which rounding changes no Relu's and no maximum's choice: a choice moves a whole gradient. */
const inputs = { mlp: "mixed x", cnn: "mixed.x.2", transformer: "mixed.x.2" } as const;

describe.each([
  ["mlp", "mixed:init-scale=1024", 0],
  ["mlp", "mixed:init-scale=1024", 1],
  ["cnn", "mixed:init-scale=1024", 0],
  ["transformer", "mixed:init-scale=1024", 0],
  ["transformer", "mixed-bfloat16", 1],
] as const)("%s, %s, SOM's weight %d", (network, precision, weight) => {
  test("gradients are those in float32, within the type's rounding", async () => {
    const [half, single] = [
      await firstStep(network, precision, weight),
      await firstStep(network, "float32", weight),
    ];
    const digit = precision === "mixed-bfloat16" ? 2 ** -7 : 2 ** -10;
    expect(Math.abs(half.loss / single.loss - 1)).toBeLessThan(digit);
    // SOM takes responses, and what rounding did to them, times γ = 10.
    expect(distance(half.gradients, single.gradients)).toBeLessThan((weight > 0 ? 10 : 1) * digit);
    // Something was rounded.
    expect(distance(half.gradients, single.gradients)).toBeGreaterThan(digit / 8);
  });
});
