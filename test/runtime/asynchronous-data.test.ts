import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { type Dataset, type FitOptions, sgd, som, Trainer, type TrainerOptions } from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { clouds, losses, network, plain, train } from "./small-run.ts";

const options: TrainerOptions = {
  ...plain,
  ...{ optimizer: sgd({ momentum: 0.9 }), learningRate: 0.05, seed: 5 },
  penalties: [{ penalty: som(), weight: 0.1, include: /fc1/ }],
};
const validation = clouds("held out", 21);

/** What a dataset was asked for. */
interface Log {
  calls: { readonly rows: readonly number[]; readonly epoch: number | undefined }[];
  open: number;
  most: number;
}

/** The samples of a dataset after a pause. */
function slowly(
  dataset: Dataset,
  log: Log = { calls: [], open: 0, most: 0 },
): Dataset & { readonly log: Log } {
  const { name, size, x, y } = dataset;
  return {
    ...{ name, size, x, y, log },
    async fill(indices, toX, toY, pass) {
      log.calls.push({ rows: Array.from(indices), epoch: pass?.epoch });
      log.open += 1;
      log.most = Math.max(log.most, log.open);
      await sleep(log.calls.length % 3);
      await dataset.fill(indices, toX, toY, pass);
      log.open -= 1;
    },
  };
}

async function run(data: Dataset, own: TrainerOptions, fit: FitOptions) {
  const trainer = await Trainer.create(network(), own);
  const all = await losses(trainer, data, fit);
  const { loss, accuracy } = await trainer.evaluate(validation);
  const { bytes } = trainer.export();
  await trainer.release();
  return { all, loss, accuracy, bytes };
}

const folder = mkdtempSync(join(tmpdir(), "sorth-asynchronous-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a dataset that answers with promises", () => {
  test.each([1, 3, "auto"] as const)("%s steps a run: the bits of data at hand", async (stepsPerRun) => {
    const own = { ...options, stepsPerRun };
    const fit = { epochs: 3, maxSteps: 19 };
    const expected = await run(train, own, { ...fit, validation });
    const slow = slowly(train);
    const found = await run(slow, own, { ...fit, validation: slowly(validation) });
    expect(found.all).toEqual(expected.all);
    expect([found.loss, found.accuracy]).toEqual([expected.loss, expected.accuracy]);
    expect(equalBytes(found.bytes, expected.bytes)).toBe(true);
    // One run ahead, never two; each sample of a run once, in the epoch it belongs to.
    expect(slow.log.most).toBe(1);
    expect(slow.log.calls.map(({ epoch }) => epoch)).toEqual(slow.log.calls.map(({ epoch }) => epoch).sort());
    expect(slow.log.calls.flatMap(({ rows }) => rows).length).toBeGreaterThanOrEqual(19 * 8);
  });

  test("the next batch is under way while the caller looks at a step", async () => {
    const slow = slowly(train);
    const trainer = await Trainer.create(network(), { ...options, stepsPerRun: 1 });
    const seen: number[] = [];
    for await (const { event } of trainer.fit(slow, { maxSteps: 4 })) {
      if (event === "step") seen.push(slow.log.calls.length);
    }
    expect(seen).toEqual([2, 3, 4, 4]);
    await trainer.release();
  });

  test("a caller that reads the state mid-run gets the same bits", async () => {
    const single = await run(train, { ...options, stepsPerRun: 1 }, { maxSteps: 14, epochs: 2 });
    const trainer = await Trainer.create(network(), { ...options, stepsPerRun: 4 });
    const all: number[] = [];
    for await (const event of trainer.fit(slowly(train), { maxSteps: 14, epochs: 2 })) {
      if (event.event !== "step") continue;
      all.push(event.loss);
      if ([2, 9].includes(event.step)) await trainer.readState();
    }
    expect(all).toEqual(single.all);
    expect(equalBytes(trainer.export().bytes, single.bytes)).toBe(true);
    await trainer.release();
  });

  test("resumes bit for bit, and knows its data by name and shape, or by their fingerprint", async () => {
    const checkpoint = join(folder, "run");
    const whole = await run(train, options, { epochs: 3 });
    const first = await Trainer.create(network(), options);
    const data: Dataset = { ...slowly(train), fingerprint: "files of May" };
    const begun = await losses(first, data, { epochs: 3, maxSteps: 10, checkpoint });
    await first.release();
    const second = await Trainer.resume(checkpoint);
    const other = { ...data, fingerprint: "files of June" };
    await expect(losses(second, other, { epochs: 3 })).rejects.toThrow(/trained on other data/);
    const rest = await losses(second, data, { epochs: 3 });
    expect([...begun, ...rest]).toEqual(whole.all);
    expect(equalBytes(second.export().bytes, whole.bytes)).toBe(true);
    await second.release();
  });

  test("an error in the data ends the run at the step that needs them, with the state before", async () => {
    const broken: Dataset = {
      ...slowly(train),
      async fill(indices, x, y) {
        await train.fill(indices, x, y);
        if (Array.from(indices).includes(order[3 * 8] as number)) throw new Error("photo.png cannot be read");
      },
    };
    const order = await ordered();
    const trainer = await Trainer.create(network(), { ...options, stepsPerRun: 1 });
    const steps: number[] = [];
    const fitted = async () => {
      for await (const event of trainer.fit(broken)) steps.push(event.step);
    };
    await expect(fitted()).rejects.toThrow("photo.png cannot be read");
    expect(steps).toEqual([1, 2, 3]);
    expect(trainer.state().parameters.size).toBeGreaterThan(0);
    // The trainer goes on with other data.
    expect((await losses(trainer, train, { maxSteps: 5 })).length).toBe(2);
    await trainer.release();
  });

  test("an abort does not wait for data that never come", async () => {
    const control = new AbortController();
    let calls = 0;
    const stuck: Dataset = {
      ...slowly(train),
      async fill(indices, x, y) {
        calls += 1;
        if (calls > 3) await new Promise(() => {});
        await train.fill(indices, x, y);
      },
    };
    const trainer = await Trainer.create(network(), { ...options, stepsPerRun: 1 });
    const events = [];
    const { signal } = control;
    for await (const event of trainer.fit(stuck, { signal })) {
      events.push(event);
      if (event.event === "step" && event.step === 3) setTimeout(() => control.abort(), 20);
    }
    expect(events.at(-1)).toMatchObject({ event: "end", step: 3, stopped: "aborted" });
    await trainer.release();
  });
});

/** The order of the samples in the first epoch. */
async function ordered(): Promise<number[]> {
  const slow = slowly(train);
  const trainer = await Trainer.create(network(), { ...options, stepsPerRun: 1 });
  await losses(trainer, slow, { epochs: 1 });
  await trainer.release();
  return slow.log.calls.flatMap(({ rows }) => rows);
}
