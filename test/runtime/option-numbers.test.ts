import { describe, expect, test } from "vitest";
import { adamw, crossEntropy, sgd, so, Trainer, type TrainerOptions } from "../../src/index.ts";
import { losses, network, plain, train } from "./small-run.ts";

describe("numbers out of range are refused", () => {
  const create = (own: Partial<TrainerOptions>) => Trainer.create(network(), { ...plain, ...own });
  test.each<[Partial<TrainerOptions>, RegExp]>([
    [{ learningRate: -1 }, /the learning rate must be a number of 0 or more, not -1/],
    [{ learningRate: Number.NaN }, /the learning rate must be a number of 0 or more, not NaN/],
    [{ penaltyWeight: -0.1 }, /the penalty's weight must be a number of 0 or more/],
    [{ seed: 1.5 }, /the seed must be a whole number/],
    [{ seed: -1 }, /the seed must be a whole number/],
    [{ seed: 2 ** 32 }, /the seed must be a whole number from 0 to 4294967295/],
    [{ threads: 0 }, /the number of threads/],
    [{ threads: 100_000 }, /the number of threads must be a whole number from 1 to 256/],
    [{ batch: 2.5 }, /"batch" must be a whole number of at least 1/],
    [{ stepsPerRun: 0 }, /steps of a run/],
    [{ penalties: [{ penalty: so(), weight: -1 }] }, /weight of the penalty so/],
  ])("%o", async (own, says) => {
    await expect(create(own)).rejects.toThrow(says);
  });

  test("of optimizers and losses", () => {
    expect(() => sgd({ momentum: 1 })).toThrow(/momentum .* at least 0 and below 1, not 1/);
    expect(() => adamw({ beta2: 1.5 })).toThrow(/beta2/);
    expect(() => adamw({ epsilon: 0 })).toThrow(/epsilon .* above 0/);
    expect(() => adamw({ weightDecay: -1 })).toThrow(/weightDecay/);
    expect(() => crossEntropy({ labelSmoothing: 1.5 })).toThrow(/labelSmoothing .* from 0 to 1, not 1.5/);
  });

  test("of a fit", async () => {
    const trainer = await create({});
    for (const [fit, says] of [
      [{ epochs: 0 }, /number of epochs must be a whole number of 1 or more, not 0/],
      [{ epochs: 1.5 }, /number of epochs/],
      [{ maxSteps: Number.NaN }, /number of steps/],
      [{ validation: 1 }, /share of the data for validation must be a number above 0 and below 1/],
      [{ validation: -0.5 }, /share of the data for validation/],
    ] as const) {
      await expect(losses(trainer, train, fit)).rejects.toThrow(says);
    }
  });
});
