import { describe, expect, test } from "vitest";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { encodeModel } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { adamw } from "../../src/optimizers/adamw.ts";
import { differentiate } from "../../src/programs/differentiate.ts";
import { buildStep } from "../../src/programs/step.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { maxAbs, maxDifference } from "../helpers/numbers.ts";
import { fixture, modelFixture } from "./references.ts";
import { StepRunner } from "./step-runner.ts";

interface Figures {
  readonly kind: "bases" | "rounding" | "convolutions";
  readonly loss: number;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
  readonly losses?: readonly number[];
}

const index = fixture<{
  learningRate: number;
  x: readonly number[];
  images: readonly number[];
  labels: readonly number[];
  models: Readonly<Record<string, Figures>>;
}>("quantized/index.json");

const of = (kind: Figures["kind"]) => Object.entries(index.models).filter(([, one]) => one.kind === kind);
const batch = ({ kind }: Figures) => Float32Array.from(kind === "convolutions" ? index.images : index.x);
const trained = /lora|\.bias$/;

/** The loss and the gradients of what is trained and of the input, beside PyTorch's. */
async function expectGradients(
  name: string,
  figures: Figures,
  tolerance: number,
  straightThrough = false,
): Promise<void> {
  const model = modelFixture(`quantized/${name}.onnx`);
  const { gradients, model: written } = await differentiate(
    model,
    {
      ...{ objective: crossEntropy(), wrtInputs: /^x$/, straightThrough },
      ...(Object.keys(figures.gradients).some((one) => trained.test(one)) && { wrt: trained }),
    },
    nodeProbe,
  );
  const shape = [8, ...(figures.kind === "convolutions" ? [2, 8, 8] : [32])];
  const outputs = await nodeProbe.run(
    encodeModel(written),
    new Map([
      ["x", Tensor.float("x", shape, batch(figures))],
      ["labels", Tensor.of("labels", "int32", [8], Int32Array.from(index.labels))],
    ]),
  );
  expect(Math.abs((outputs.get("loss")?.numbers()[0] ?? Number.NaN) - figures.loss)).toBeLessThan(tolerance);
  expect([...gradients.keys()].sort()).toEqual(Object.keys(figures.gradients).sort());
  for (const [parameter, expected] of Object.entries(figures.gradients)) {
    const found = outputs.get(gradients.get(parameter) ?? "")?.numbers() ?? [];
    expect(maxDifference(found, expected) / maxAbs(expected), `gradient of ${parameter}`).toBeLessThan(
      tolerance,
    );
  }
}

/** Losses of steps with AdamW, beside PyTorch's. */
async function expectLosses(
  name: string,
  figures: Figures,
  tolerance: number,
  straightThrough = false,
): Promise<void> {
  const model = modelFixture(`quantized/${name}.onnx`);
  const options = { objective: crossEntropy(), optimizer: adamw(), trainable: trained, straightThrough };
  const runner = await StepRunner.create(await buildStep(model, options, nodeProbe));
  const losses: number[] = [];
  for (const _ of figures.losses ?? []) {
    const { loss } = await runner.run(batch(figures), index.labels, { learningRate: index.learningRate });
    losses.push(loss);
  }
  await runner.release();
  expect(maxDifference(losses, figures.losses ?? [])).toBeLessThan(tolerance);
}

describe("branches beside a base that stays as the file holds it", () => {
  test.each(of("bases"))("%s: gradients and 20 steps as in PyTorch", async (name, figures) => {
    await expectGradients(name, figures, 1e-5);
    await expectLosses(name, figures, 1e-5);
  });
});

describe("activations that the file rounds, with gradients straight through", () => {
  test.each([...of("rounding"), ...of("convolutions")])("%s: as in PyTorch", async (name, figures) => {
    await expectGradients(name, figures, 1e-5, true);
    if (figures.losses) await expectLosses(name, figures, 1e-5, true);
  });
});
