import { describe, expect, test } from "vitest";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { decodeModel } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { adam } from "../../src/optimizers/adam.ts";
import { differentiate } from "../../src/programs/differentiate.ts";
import { withWeights } from "../../src/programs/export.ts";
import { buildStep } from "../../src/programs/step.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { fixture, gradientScale, modelFixture, type Summary, summaryError } from "./references.ts";
import { StepRunner } from "./step-runner.ts";

interface Case {
  readonly shape: readonly number[];
  /** Lengths of the samples of a packed sequence. */
  readonly lengths?: readonly number[];
  readonly loss: number;
  /** W, R and B of each layer and the classifier, as ONNX has them. */
  readonly gradients: Readonly<Record<string, Summary>>;
  readonly models: readonly { file: string; parameters: Readonly<Record<string, string>> }[];
}

const { batch, classes, cases } = fixture<{
  batch: number;
  classes: number;
  cases: Readonly<Record<string, Case>>;
}>("recurrent/recurrent.json");

const files = Object.entries(cases).flatMap(([name, { models, ...rest }]) =>
  models.map((model) => ({ name, ...model, ...rest })),
);
const inputOf = (name: string, shape: readonly number[]) =>
  uniform(
    `recurrent.${name}.x`,
    shape.reduce((product, dim) => product * dim, 1),
  );

describe.each(files)("$file", ({ name, file, parameters, shape, lengths, loss, gradients }) => {
  test("loss and gradients are PyTorch's in float64", async () => {
    const model = modelFixture(`recurrent/${file}`);
    const gradient = await differentiate(model, { objective: crossEntropy() }, nodeProbe);
    const feeds = [
      Tensor.float("x", shape, inputOf(name, shape)),
      Tensor.of(
        "labels",
        "int32",
        [batch],
        Int32Array.from(labels(`recurrent.${name}.labels`, batch, classes)),
      ),
      ...(lengths ? [Tensor.of("lengths", "int64", [batch], BigInt64Array.from(lengths, BigInt))] : []),
    ];
    const results = await nodeProbe.run(
      gradient.model.bytes,
      new Map(feeds.map((tensor) => [tensor.name, tensor])),
    );
    expect(results.get(gradient.loss)?.numbers()[0]).toBeCloseTo(loss, 5);
    // The weights of all layers are found to be parameters, constant initial states are not.
    expect([...gradient.gradients.keys()].sort()).toEqual(Object.keys(parameters).sort());
    expect(Object.values(parameters).sort()).toEqual(Object.keys(gradients).sort());
    const errors = Object.entries(parameters).map(([parameter, key]) => {
      const expected = gradients[key] as Summary;
      const actual = results.get(gradient.gradients.get(parameter) ?? "")?.numbers() ?? [];
      return { key, error: summaryError(key, actual, expected, gradientScale(expected, gradients)) };
    });
    expect(errors.filter(({ error }) => !(error < 2e-5))).toEqual([]);
  });
});

describe.each(files.filter(({ lengths }) => !lengths))("training of $file", (file) => {
  test("lowers the loss, and the weights go back into the file", async () => {
    const { name, parameters, shape } = file;
    const model = modelFixture(`recurrent/${file.file}`);
    const step = await buildStep(model, { objective: crossEntropy(), optimizer: adam() }, nodeProbe);
    expect(step.ports.parameters.map((port) => port.name).sort()).toEqual(Object.keys(parameters).sort());
    const runner = await StepRunner.create(step);
    const x = inputOf(name, shape);
    const y = labels(`recurrent.${name}.labels`, batch, classes);
    const losses: number[] = [];
    for (let i = 0; i < 20; i++) losses.push((await runner.run(x, y, { learningRate: 0.02 })).loss);
    expect(losses[0]).toBeCloseTo(file.loss, 5);
    expect(losses.at(-1)).toBeLessThan(0.7 * file.loss);

    const weights = new Map(
      step.ports.parameters.map((port) => [
        port.name,
        Tensor.float(port.name, port.shape, runner.state(port.name)),
      ]),
    );
    const trained = withWeights(model, weights, { objective: crossEntropy() });
    await runner.release();
    const again = await StepRunner.create(
      await buildStep(
        decodeModel(trained.bytes),
        { objective: crossEntropy(), optimizer: adam() },
        nodeProbe,
      ),
    );
    const { loss } = await again.run(x, y, { learningRate: 0 });
    await again.release();
    expect(loss).toBeLessThan(losses.at(-1) as number);
  });
});
