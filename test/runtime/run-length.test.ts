import { expect, test } from "vitest";
import {
  adam,
  arrayDataset,
  crossEntropy,
  type FitOptions,
  readModel,
  sgd,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";

const data = arrayDataset(new Float32Array(12 * 784), new Int32Array(12), [1, 28, 28]);

/** The steps of a run of three steps an epoch, and what it said. */
async function run(
  fit: FitOptions,
  options: TrainerOptions = {},
): Promise<{ readonly steps: number; readonly said: readonly string[] }> {
  const said: string[] = [];
  const trainer = await Trainer.create(await readModel("models/mlp.onnx"), {
    ...{ objective: crossEntropy(), batch: 4, onMessage: (text: string) => said.push(text) },
    ...options,
  });
  for await (const _ of trainer.fit(data, fit));
  await trainer.release();
  return { steps: trainer.steps, said };
}

test("a run whose epochs end it before its number of steps says so", async () => {
  const ends = (text: string) => /^the run ends with epoch/.test(text);
  const one = await run({ maxSteps: 5 });
  expect(one.steps).toBe(3);
  expect(one.said.filter(ends)).toEqual([
    "the run ends with epoch 1 at step 3, before step 5 (--max-steps): give more epochs (--epochs)",
  ]);
  const two = await run({ epochs: 2, maxSteps: 5 });
  expect(two.steps).toBe(5);
  const whole = await run({ epochs: 2, maxSteps: 6 });
  expect(whole.steps).toBe(6);
  expect([...two.said, ...whole.said].filter(ends)).toEqual([]);
});

test("a warmup that is longer than the run is told, and no other schedule", async () => {
  const told = async (schedule: string) =>
    (await run({ epochs: 2 }, { schedule })).said.filter((text) => /^the schedule/.test(text));
  for (const schedule of ["cosine:warmup=60", "warmup:steps=60", "constant:warmup=60,warmup-start=0"]) {
    expect(await told(schedule)).toEqual([
      expect.stringMatching(
        /^the schedule raises the learning rate in all 6 steps, to a share of 0\.(1|0833) at the last one: its warmup is longer than the run$/,
      ),
    ]);
  }
  const others = [
    "warmup:steps=6",
    "cosine:warmup=3",
    "one-cycle",
    "linear",
    "step:every=2,factor=2",
    "srip",
  ];
  for (const schedule of others) expect(await told(schedule)).toEqual([]);
});

test("a learning rate among the options of an optimizer is told where it belongs", () => {
  for (const option of ["lr", "learningRate", "learning-rate"]) {
    expect(() => adam({ [option]: 0.1 } as never)).toThrow(
      `the optimizer adam has no option "${option}": the rate is given beside it, with --lr`,
    );
  }
  expect(() => adam({ lr: 0.1 } as never)).toThrow("(in code: learningRate)");
  expect(() => sgd({ rate: 0.1 } as never)).toThrow('has no option "rate"; it has momentum');
});
