import { beforeAll, describe, expect, test } from "vitest";
import { arrayDataset, type Model, recoverBatchNorm, Tensor } from "../../src/index.ts";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { adamw } from "../../src/optimizers/adamw.ts";
import { sgd } from "../../src/optimizers/sgd.ts";
import { buildStep } from "../../src/programs/step.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { fixture, modelFixture } from "./references.ts";
import { StepRunner } from "./step-runner.ts";

/** See scripts/oracles/batch_norm.py. */
const figures = fixture<{
  readonly samples: number;
  readonly batch: number;
  readonly network: readonly Readonly<Record<"scale" | "bias" | "variance", readonly number[]>>[];
  /** Of the network itself, before the export. */
  readonly firstLoss: number;
  readonly runs: Readonly<
    Record<
      "sgd" | "adamw",
      { readonly lr: number; readonly momentum?: number; readonly losses: readonly number[] }
    >
  >;
}>("batch-norm/figures.json");

const { samples, batch, runs } = figures;
/** PyTorch's. */
const epsilon = 1e-5;
const size = 2 * 6 * 6;
const x = uniform("batch-norm.x", samples * size, 2);
const labels = Array.from({ length: samples }, (_, i) => i % 3);

describe("BatchNorm recovered from PyTorch's folded export", () => {
  let recovered: Model;
  beforeAll(async () => {
    const data = arrayDataset(x, Int32Array.from(labels), [2, 6, 6]);
    recovered = await recoverBatchNorm(modelFixture("batch-norm/folded.onnx"), data, { batch });
  });

  test("has the network's own biases, and its scales but for the sign", () => {
    const tensors = (recovered.proto.graph?.initializer ?? []).map((one) => Tensor.fromProto(one));
    const found = (part: string) =>
      tensors.filter(({ name }) => name.endsWith(`.batch_norm.${part}`)).map((one) => [...one.numbers()]);
    for (const [i, { scale, bias, variance }] of figures.network.entries()) {
      expect(maxDifference(found("bias")[i] ?? [], bias)).toBeLessThan(1e-5);
      // The folded result has variance γ²·σ²/(σ² + ε), whose own ε comes on top.
      const expected = scale.map((gamma, unit) => {
        const own = variance[unit] as number;
        return Math.sqrt((gamma * gamma * own) / (own + epsilon) + epsilon);
      });
      expect(maxDifference(found("scale")[i] ?? [], expected)).toBeLessThan(1e-5);
      expect(maxDifference(expected, scale.map(Math.abs))).toBeLessThan(1e-3);
    }
  });

  for (const [name, { lr, momentum = 0, losses }] of Object.entries(runs)) {
    test(`${name}: ten losses as PyTorch's, the first as before the export`, async () => {
      const optimizer = name === "sgd" ? sgd({ momentum }) : adamw();
      const options = { objective: crossEntropy(), optimizer, batch };
      const runner = await StepRunner.create(await buildStep(recovered, options, nodeProbe));
      const ours: number[] = [];
      for (const step of losses.keys()) {
        const start = (step % 3) * batch;
        const rows = x.slice(start * size, (start + batch) * size);
        const result = await runner.run(rows, labels.slice(start, start + batch), { learningRate: lr });
        ours.push(result.loss);
      }
      await runner.release();
      expect(maxDifference(ours, losses)).toBeLessThan(1e-5);
      expect(Math.abs((ours[0] as number) - figures.firstLoss)).toBeLessThan(1e-4);
      expect(Math.abs((ours.at(-1) as number) - (ours[0] as number))).toBeGreaterThan(1e-2);
    });
  }
});
