import { describe, expect, test } from "vitest";
import { sameShape } from "../../src/graph/shapes.ts";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { differentiate } from "../../src/programs/differentiate.ts";
import { buildStep } from "../../src/programs/step.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { runModel } from "../helpers/run-model.ts";
import {
  fixture,
  gradientScale,
  modelFixture,
  type Summary,
  summaryError,
  transposed,
} from "./references.ts";
import { gradientItself, StepRunner } from "./step-runner.ts";

interface Reference {
  readonly input: { readonly block: string; readonly shape: readonly number[] };
  readonly labels: { readonly block: string; readonly classes: number };
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Summary>>;
}

interface ExportedModel {
  readonly file: string;
  readonly network: string;
  readonly variant: string;
  readonly reference: string;
  /** Which initializer is which parameter of the reference. */
  readonly parameters: readonly {
    readonly name: string;
    readonly reference: string;
    readonly transposed: boolean;
  }[];
}

const index = fixture<{
  references: Readonly<Record<string, Reference>>;
  models: readonly ExportedModel[];
  shared: readonly { readonly file: string; readonly reference: string }[];
}>("exports/index.json");

// PyTorch's float64 loss and gradients of the same network (test/fixtures/README.md); here in float32.
describe.each([...new Set(index.models.map(({ network }) => network))])("gradients of %s", (network) => {
  test.each(index.models.filter((model) => model.network === network))("$variant", async (entry) => {
    const reference = index.references[entry.reference] as Reference;
    const { shape, block } = reference.input;
    const [batch] = shape as [number];
    const { model, gradients, loss } = await differentiate(
      modelFixture(`exports/${entry.file}`),
      { objective: crossEntropy(), batch },
      nodeProbe,
    );
    // Exactly the network's parameters: no running statistic, no constant of the exporter.
    expect([...gradients.keys()].sort()).toEqual(entry.parameters.map(({ name }) => name).sort());

    const classes = Int32Array.from(labels(reference.labels.block, batch, reference.labels.classes));
    const results = await runModel(model.bytes, {
      x: Tensor.of(
        "x",
        "float",
        shape,
        uniform(
          block,
          shape.reduce((a, b) => a * b, 1),
        ),
      ),
      labels: Tensor.of("labels", "int32", [batch], classes),
    });
    expect(Math.abs((results[loss]?.numbers()[0] ?? Number.NaN) - reference.loss)).toBeLessThan(1e-5);
    const errors = entry.parameters.map((parameter) => {
      const expected = reference.gradients[parameter.reference] as Summary;
      const output = results[gradients.get(parameter.name) ?? ""];
      const actual = output?.numbers() ?? [];
      const [rows, columns] = expected.shape as [number, number];
      // The initializer holds [columns, rows] of the reference's [rows, columns].
      const numbers = parameter.transposed ? transposed(actual, columns, rows) : actual;
      const name = parameter.reference;
      return {
        name,
        error: summaryError(name, numbers, expected, gradientScale(expected, reference.gradients)),
      };
    });
    expect(errors.filter(({ error }) => !(error < 1e-4))).toEqual([]);
  });
});

// Untrained networks: both exporters store equal tensors once, so that one initializer is the scale of one
// normalization, the running variance of another, …. A step must train each on its own.
test.each(index.shared)("gradients of $file, whose initializers are shared", async ({ file, reference }) => {
  const { gradients, loss, input, labels: target } = index.references[reference] as Reference;
  const [batch] = input.shape as [number];
  const options = { objective: crossEntropy(), optimizer: gradientItself, batch };
  const runner = await StepRunner.create(
    await buildStep(modelFixture(`exports/${file}`), options, nodeProbe),
  );
  const x = uniform(
    input.block,
    input.shape.reduce((a, b) => a * b, 1),
  );
  const result = await runner.run(x, labels(target.block, batch, target.classes), { learningRate: 0 });
  expect(Math.abs(result.loss - loss)).toBeLessThan(1e-5);
  // Copies of an initializer have names of this library: each gradient is looked for among all of its shape.
  const left = new Set(runner.step.ports.parameters);
  for (const [name, expected] of Object.entries(gradients)) {
    const found = [...left].find(
      (port) =>
        sameShape(port.shape, expected.shape) &&
        summaryError(name, runner.state(port.name), expected, gradientScale(expected, gradients)) < 1e-4,
    );
    expect(found, name).toBeDefined();
    if (found) left.delete(found);
  }
  expect([...left]).toEqual([]);
  const norms = Object.keys(gradients).filter((name) => /^bn\d?\.weight$/.test(name));
  expect(runner.step.ports.statistics).toHaveLength(2 * norms.length);
  await runner.release();
});
