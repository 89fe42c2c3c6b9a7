import { describe, expect, test } from "vitest";
import { Tensor } from "../../src/onnx/tensor.ts";
import type { Optimizer } from "../../src/optimizers/optimizer.ts";
import { adam, adamw, averageWeights, chain, sgd } from "../../src/optimizers/public.ts";
import { runModel } from "../helpers/run-model.ts";
import { referenceSteps, updateGraph } from "./update-runner.ts";

/** One step of a parameter that is one number, by the reference. */
function oneStep(
  optimizer: Optimizer,
  {
    start = 2,
    gradients = [0.5],
    learningRate = 0.25,
  }: { start?: number; gradients?: number[]; learningRate?: number } = {},
): number[] {
  const parameter = { name: "p", shape: [1], start: [start] };
  const each = gradients.map((gradient) => ({ gradients: [[gradient]], learningRate }));
  return referenceSteps(optimizer, [parameter], each).map(
    ({ parameters }) => parameters[0]?.[0] ?? Number.NaN,
  );
}

describe("references, by hand", () => {
  // Powers of two, so that the figures are exact.
  test("the first buffer of SGD is the gradient, dampened only later", () => {
    // m = 0.5, then 0.5·0.5 + 0.75·0.5 = 0.625
    expect(oneStep(sgd({ momentum: 0.5, dampening: 0.25 }), { gradients: [0.5, 0.5] })).toEqual([
      1.875, 1.71875,
    ]);
  });

  test("Nesterov steps along g + μ·m", () => {
    expect(oneStep(sgd({ momentum: 0.5, nesterov: true }))).toEqual([2 - 0.25 * 0.75]);
  });

  test("the first step of Adam is the learning rate, whatever the gradient's size", () => {
    for (const gradient of [1e-3, 1, 1e3]) {
      expect(oneStep(adam(), { gradients: [gradient] })[0]).toBeCloseTo(1.75, 4);
    }
  });

  test("weight decay of AdamW shrinks a parameter without a gradient by lr·λ; that of Adam moves it by lr", () => {
    expect(oneStep(adamw({ weightDecay: 0.5 }), { gradients: [0] })).toEqual([1.75]);
    expect(oneStep(adam({ weightDecay: 0.5 }), { gradients: [0] })[0]).toBeCloseTo(1.75, 6);
    expect(oneStep(adam({ weightDecay: 0.5 }), { gradients: [0], start: 4 })[0]).toBeCloseTo(3.75, 6);
  });

  // torch.optim.swa_utils.AveragedModel copies the parameters at its first update.
  test("an average begins with the parameters after the first update", () => {
    const step = { gradients: [[0.5]], learningRate: 1 };
    const [first, second] = referenceSteps(
      chain(sgd(), averageWeights(0.75)),
      [{ name: "p", shape: [1], start: [2] }],
      [step, step],
    );
    expect(first).toEqual({ parameters: [[1.5]], slots: { "p.ema": [1.5] } });
    expect(second).toEqual({ parameters: [[1]], slots: { "p.ema": [0.75 * 1.5 + 0.25 * 1] } });
  });
});

describe("bias correction", () => {
  // v = 0, g = 1 and m = 0 make the change lr·(1−β1)/(1−β1ᵗ) · √(1−β2ᵗ)/√(1−β2), known in closed form.
  const { beta1, beta2 } = { beta1: 0.9, beta2: 0.999 };
  for (const t of [1, 2, 3, 10, 100, 1000, 20_000, 1_000_000]) {
    test(`holds in float32 at step ${t}`, async () => {
      const { graph } = updateGraph(adam(), [{ name: "p", type: "float", shape: [1] }]);
      const numbers = { p: [0], "p.gradient": [1], "p.m": [0], "p.v": [0], learning_rate: 1, step: t };
      const feeds = Object.entries(numbers).map(([name, value]) => [
        name,
        typeof value === "number" ? Tensor.float("", [], [value]) : Tensor.float("", [1], value),
      ]);
      const outputs = await runModel(graph, Object.fromEntries(feeds));
      const change = -(outputs["p.next"]?.numbers()[0] ?? Number.NaN);
      const corrections = Math.sqrt(-Math.expm1(t * Math.log(beta2))) / -Math.expm1(t * Math.log(beta1));
      const expected = (corrections * (1 - beta1)) / Math.sqrt(1 - beta2);
      expect(Math.abs(change / expected - 1)).toBeLessThan(5e-7);
    });
  }
});
