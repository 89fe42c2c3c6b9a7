import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { evaluateModel, exportCheckpoint, Trainer, type TrainerOptions } from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { accumulate, averageWeights, chain, sgd } from "../../src/optimizers/public.ts";
import { relativeError } from "../helpers/numbers.ts";
import { clouds, network, plain, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-averages-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** The weights that come to the average at a step, and with which share of the new. */
type Share = (step: number) => number;
const moving: Share = (step) => (step === 1 ? 1 : 0.3);
const cases: readonly [string, TrainerOptions, Share][] = [
  ["ema", { optimizer: sgd({ momentum: 0.9 }), ema: 0.7 }, moving],
  ["ema", { optimizer: chain(sgd({ momentum: 0.9 }), averageWeights(0.7)) }, moving],
  ["ema", { optimizer: accumulate(2, sgd()), ema: 0.7 }, (step) => (step % 2 === 1 ? 0 : moving(step / 2))],
  ["swa", { swa: 3 }, (step) => 1 / Math.max(1, step - 2)],
  [
    "swa",
    { optimizer: accumulate(2, sgd()), swa: { start: 2, every: 3 } },
    (step) => (step <= 2 ? 1 : step % 3 === 2 ? 1 / ((step - 2) / 3 + 1) : 0),
  ],
];

describe.each(cases)("%s of %j", (kind, own, share) => {
  test("is kept, evaluated and exported; the weights themselves on request", async () => {
    const where = join(folder, `${kind}${cases.findIndex((one) => one[1] === own)}`);
    const trainer = await Trainer.create(network(), { ...plain, learningRate: 0.05, stepsPerRun: 1, ...own });
    const name = "fc1.weight";
    let average = trainer.state().parameters.get(name)?.numbers() ?? [];
    const validated: (string | undefined)[] = [];
    for await (const event of trainer.fit(train, { epochs: 2, validation: 0.2, checkpoint: where })) {
      if (event.event === "epoch") validated.push(event.validation?.average);
      if (event.event !== "step") continue;
      const { parameters, slots } = await trainer.readState();
      const weights = parameters.get(name)?.numbers() ?? [];
      average = average.map((before, i) => before + share(event.step) * ((weights[i] ?? 0) - before));
      expect(relativeError(slots.get(name)?.get(kind)?.numbers() ?? [], average)).toBeLessThan(1e-6);
    }
    expect(validated).toEqual([kind, kind]);

    const held = clouds("held", 24);
    for (const averaged of [true, false]) {
      const model = trainer.export({ averaged });
      const evaluated = await trainer.evaluate(held, { averaged });
      const { loss, accuracy } = await evaluateModel(model, held);
      expect(evaluated.average).toBe(averaged ? kind : undefined);
      expect([evaluated.accuracy, evaluated.loss]).toEqual([accuracy, expect.closeTo(loss, 5)]);
      expect(equalBytes((await exportCheckpoint(where, { averaged })).bytes, model.bytes)).toBe(true);
    }
    expect(equalBytes((await exportCheckpoint(where)).bytes, trainer.export().bytes)).toBe(true);
    expect(equalBytes(trainer.export().bytes, trainer.export({ averaged: false }).bytes)).toBe(false);
    await trainer.release();
  });
});

test("there is one average, in range; a run without one has none to give", async () => {
  const created = (own: TrainerOptions) => Trainer.create(network(), { ...plain, ...own });
  await expect(created({ ema: 0.9, swa: 3 })).rejects.toThrow(/one average of its weights/);
  await expect(created({ ema: 0.9, optimizer: chain(sgd(), averageWeights(0.9)) })).rejects.toThrow(
    /one average/,
  );
  await expect(created({ ema: 1 })).rejects.toThrow(/decay .* at least 0 and below 1/);
  await expect(created({ swa: 0 })).rejects.toThrow(/start .* whole number of 1 or more/);
  const trainer = await created({});
  expect(() => trainer.export({ averaged: true })).toThrow(/keeps no average of its weights/);
  await trainer.save(folder);
  await expect(exportCheckpoint(folder, { averaged: true })).rejects.toThrow(/keeps no average/);
  await trainer.release();
});
