import { expect, test } from "vitest";
import { arrayDataset, crossEntropy, type FitOptions, readModel, Trainer } from "../../src/index.ts";

const data = arrayDataset(new Float32Array(12 * 784), new Int32Array(12), [1, 28, 28]);

/** The steps of a run of three steps an epoch, and what it said. */
async function run(fit: FitOptions): Promise<{ readonly steps: number; readonly said: readonly string[] }> {
  const said: string[] = [];
  const trainer = await Trainer.create(await readModel("models/mlp.onnx"), {
    ...{ objective: crossEntropy(), batch: 4, onMessage: (text: string) => said.push(text) },
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
