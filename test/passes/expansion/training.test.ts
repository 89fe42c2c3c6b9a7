import { describe, expect, test } from "vitest";
import type { Graph } from "../../../src/graph/graph.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { buildStep, inspect } from "../../../src/index.ts";
import { crossEntropy } from "../../../src/losses/cross-entropy.ts";
import { Model } from "../../../src/onnx/model.ts";
import { onnx } from "../../../src/onnx/schema.js";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { sgd } from "../../../src/optimizers/sgd.ts";
import { withWeights } from "../../../src/programs/export.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { randomFloats } from "../../helpers/numbers.ts";
import { StepRunner } from "../../oracles/step-runner.ts";
import { body, localFunction, loopInputs, run, withFunctions } from "./models.ts";

const features = Tensor.float("x", [8, 4], randomFloats("training x", 32));
const labels = [0, 1, 2, 0, 1, 2, 0, 1];
const options = { objective: crossEntropy(), batch: 8 };

const modelOf = (graph: Graph) => Model.fromProto(graphToProto(graph));

/** Trains for a few steps, writes the weights into the model, and runs both on the same batch. */
async function trained(model: Model) {
  const step = await buildStep(model, { ...options, optimizer: sgd() });
  const runner = await StepRunner.create(step);
  const losses: number[] = [];
  const x = Float32Array.from(features.numbers());
  for (let i = 0; i < 20; i++) losses.push((await runner.run(x, labels, { learningRate: 0.5 })).loss);
  const weights = new Map(
    step.ports.parameters.map(({ name, shape }) => [name, Tensor.float(name, shape, runner.state(name))]),
  );
  await runner.release();
  const exported = withWeights(model, weights, options);
  const logits = (await run(exported, { x: features })).get("y")?.numbers() ?? [];
  return { losses, exported, parameters: [...weights.keys()], loss: meanCrossEntropy(logits) };
}

function meanCrossEntropy(logits: readonly number[]): number {
  const rows = labels.map((label, i) => {
    const row = logits.slice(3 * i, 3 * i + 3);
    return Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0)) - (row[label] as number);
  });
  return rows.reduce((sum, value) => sum + value, 0) / rows.length;
}

/** What the exported model computes is where the last step arrived: a lower loss than the last one printed. */
function expectTrained({ losses, loss }: { losses: readonly number[]; loss: number }): void {
  expect(losses.at(-1)).toBeLessThan(0.9 * (losses[0] as number));
  expect(loss).toBeLessThan(losses.at(-1) as number);
  expect(loss).toBeGreaterThan(0.5 * (losses.at(-1) as number));
}

/** x → Loop of 3 (Linear, Tanh) → Linear → y; where the inner weights lie is up to the caller. */
function looped(place: "outside" | "inside"): Model {
  const b = new GraphBuilder();
  const x = b.input("x", ["batch", 4]);
  if (place === "outside")
    for (const name of ["cell.weight", "cell.bias"]) b.weight(name, name.endsWith("s") ? [4] : [4, 4]);
  const h = b.op("Loop", [b.int64("n", 3), null, x], "h", {
    body: body((l) => {
      const [, going] = loopInputs(l);
      const state = l.input("state", undefined);
      const weight = (name: string, dims: readonly number[]) =>
        place === "outside"
          ? l.outer(name)
          : l.graph.addInitializer(
              Tensor.float(
                name,
                dims,
                randomFloats(
                  name,
                  dims.reduce((a, d) => a * d, 1),
                ),
              ),
            );
      const linear = l.op("Gemm", [state, weight("cell.weight", [4, 4]), weight("cell.bias", [4])], "linear");
      return [l.op("Identity", [going], "still"), l.op("Tanh", [linear], "next")];
    }),
  });
  return modelOf(b.output(b.op("Gemm", [h, b.weight("head.weight", [4, 3])], "y")));
}

/** Two calls of a function, each with its own weights. */
function called(): Model {
  const linear = localFunction("Linear", {
    input: ["x", "w", "b"],
    output: ["y"],
    node: [
      new onnx.NodeProto({ opType: "Gemm", input: ["x", "w", "b"], output: ["h"] }),
      new onnx.NodeProto({ opType: "Tanh", input: ["h"], output: ["y"] }),
    ],
  });
  const b = new GraphBuilder(18, { local: 1 });
  const h = b.op(
    "Linear",
    [b.input("x", ["batch", 4]), b.weight("first.weight", [4, 5]), b.weight("first.bias", [5])],
    "h",
    {},
    "local",
  );
  const y = b.op(
    "Linear",
    [h, b.weight("second.weight", [5, 3]), b.weight("second.bias", [3])],
    "y",
    {},
    "local",
  );
  return withFunctions(modelOf(b.output(y)), linear);
}

describe("training and export", () => {
  test("weights that functions read go back into the same file, functions and all", async () => {
    const model = called();
    const result = await trained(model);
    expectTrained(result);
    expect(result.parameters).toEqual(["first.weight", "first.bias", "second.weight", "second.bias"]);
    const { graph, functions } = result.exported.proto;
    expect(functions).toHaveLength(1);
    expect(graph?.node?.map(({ opType }) => opType)).toEqual(["Linear", "Linear"]);
  });

  test("weights that the body of a Loop captures go back into the same file", async () => {
    const result = await trained(looped("outside"));
    expectTrained(result);
    expect(result.parameters.sort()).toEqual(["cell.bias", "cell.weight", "head.weight"]);
    expect(result.exported.proto.graph?.node?.map(({ opType }) => opType)).toEqual(["Loop", "Gemm"]);
  });

  test("weights inside the body are trained too; the file written anew holds them around the Loop", async () => {
    const result = await trained(looped("inside"));
    expectTrained(result);
    expect(result.parameters.sort()).toEqual(["cell.bias", "cell.weight", "head.weight"]);
    const { graph } = result.exported.proto;
    expect(graph?.node?.map(({ opType }) => opType)).toEqual(["Loop", "Gemm"]);
    expect(graph?.initializer?.map(({ name }) => name)).toContain("cell.weight");
  });

  test("a Loop of LayerNormalization keeps one scale for all trips", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["batch", 4]);
    for (const name of ["norm.weight", "norm.bias"]) b.weight(name, [4]);
    const h = b.op("Loop", [b.int64("n", 3), null, x], "h", {
      body: body((l) => {
        const [, going] = loopInputs(l);
        const state = l.input("state", undefined);
        const normal = l.op(
          "LayerNormalization",
          [state, l.outer("norm.weight"), l.outer("norm.bias")],
          "normal",
        );
        return [l.op("Identity", [going], "still"), l.op("Sin", [normal], "next")];
      }),
    });
    const result = await trained(modelOf(b.output(b.op("Gemm", [h, b.weight("head.weight", [4, 3])], "y"))));
    expectTrained(result);
    expect(result.parameters.sort()).toEqual(["head.weight", "norm.bias", "norm.weight"]);
  });

  test("inspect shows the weights that a body captures as parameters", async () => {
    const { parameters } = await inspect(looped("outside"));
    expect(parameters.map(({ name }) => name).sort()).toEqual(["cell.bias", "cell.weight", "head.weight"]);
  });
});
