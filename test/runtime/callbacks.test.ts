import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Trainer, type TrainingCallback, type TrainingEvent } from "../../src/index.ts";
import { losses, network, plain, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-callbacks-"));
});
afterAll(() => rm(folder, { recursive: true }));

const trainerOf = () => Trainer.create(network(), { ...plain, stepsPerRun: 4 });
const pause = () => new Promise((resolve) => setTimeout(resolve, 1));

test("callbacks see each event before the loop of the caller does, and are waited for", async () => {
  const trainer = await trainerOf();
  const seen: string[] = [];
  const callback: TrainingCallback = {
    onStepEnd: async ({ step }) => {
      await pause();
      seen.push(`step ${step}`);
    },
    onEpochEnd: ({ validation }, { trainer: own }) => seen.push(`epoch ${validation?.samples} ${own.steps}`),
    onCheckpoint: ({ kind }) => seen.push(kind),
    onEnd: ({ stopped }) => seen.push(`end ${stopped}`),
  };
  const fit = { validation: 0.7, checkpoint: join(folder, "order"), callbacks: [callback] };
  for await (const { event } of trainer.fit(train, fit)) seen.push(event);
  expect(seen.join(", ")).toBe(
    "step 1, step, step 2, step, epoch 42 2, epoch, best, checkpoint, last, checkpoint, end undefined, end",
  );
});

test("a callback stops the run after its step; the run goes on bit for bit", async () => {
  const expected = await losses(await trainerOf(), train, { epochs: 2 });
  const trainer = await trainerOf();
  const where = join(folder, "stopped");
  const events: TrainingEvent[] = [];
  const callback: TrainingCallback = { onStepEnd: ({ step }, { stop }) => step === 6 && stop() };
  for await (const event of trainer.fit(train, { epochs: 2, checkpoint: where, callbacks: [callback] }))
    events.push(event);
  expect(events.at(-1)).toMatchObject({ event: "end", step: 6, stopped: "callback" });
  const before = events.flatMap(({ event, loss }) => (event === "step" ? [loss] : []));
  expect([...before, ...(await losses(await Trainer.resume(where), train))]).toEqual(expected);
});

test("an error of a callback ends the run, whose state is kept", async () => {
  const expected = await losses(await trainerOf(), train, { epochs: 2 });
  const trainer = await trainerOf();
  const where = join(folder, "failed");
  const callback: TrainingCallback = {
    async onStepEnd({ step }) {
      await pause();
      if (step === 3) throw new RangeError("mine");
    },
  };
  const running = losses(trainer, train, { epochs: 2, checkpoint: where, callbacks: [callback] });
  await expect(running).rejects.toThrow(new RangeError("mine"));
  const resumed = await Trainer.resume(where);
  expect(resumed.steps).toBe(3);
  expect(await losses(resumed, train)).toEqual(expected.slice(3));
});

test("refuses a callback that nothing would call", async () => {
  const wrong = { onBatchEnd: () => {} } as TrainingCallback;
  await expect(losses(await trainerOf(), train, { callbacks: [{ onEnd() {} }, wrong] })).rejects.toThrow(
    /callback 2 has none of the functions that a run calls: onStepEnd, onEpochEnd, onCheckpoint, onEnd/,
  );
});
