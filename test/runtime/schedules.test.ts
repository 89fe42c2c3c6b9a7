import { expect, test } from "vitest";
import { Trainer, type TrainerOptions } from "../../src/index.ts";
import { clouds, losses, network, plain, train } from "./small-run.ts";

/** The losses of a run with this schedule; 48 samples in batches of 8: six steps an epoch. */
async function lossesWith(schedule: TrainerOptions["schedule"] & {}, own: TrainerOptions = plain) {
  const trainer = await Trainer.create(network(), { ...own, schedule });
  const found = await losses(trainer, train, { epochs: 5, validation: 0.2 });
  await trainer.release();
  return found;
}

test("plateau multiplies the learning rate from the epoch on in which the loss has not fallen enough", async () => {
  // The first loss is the best one, and no later one is half of it.
  const expected = await lossesWith((step) => 0.25 ** Math.max(0, Math.floor((step - 1) / 6) - 1));
  expect(await lossesWith("plateau:patience=0,threshold=0.5,factor=0.25")).toEqual(expected);
  expect(await lossesWith("constant")).not.toEqual(expected);
});

test("epochs are those of the training part", async () => {
  const expected = await lossesWith((step) => 0.5 ** Math.floor((step - 1) / 6));
  expect(await lossesWith("exponential:factor=0.5")).toEqual(expected);
  // Also where several steps are one run of ONNX Runtime.
  expect(await lossesWith("step:every=1ep,factor=0.5", { ...plain, stepsPerRun: 4 })).toEqual(expected);
});

test("plateau without held-out samples is refused before the first step, with data of their own it runs", async () => {
  const trainer = await Trainer.create(network(), { ...plain, schedule: "plateau" });
  await expect(losses(trainer, train)).rejects.toMatchObject({ code: "usage" });
  await expect(losses(trainer, train)).rejects.toThrow(/plateau follows the loss on held-out samples/);
  expect(trainer.steps).toBe(0);
  expect(await losses(trainer, train, { validation: clouds("held", 16) })).toHaveLength(7);
  await trainer.release();
});
