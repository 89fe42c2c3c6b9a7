import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type EvaluationResult,
  evaluateModel,
  type Metric,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import { clouds, losses, network, plain, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-metrics-"));
});
afterAll(() => rm(folder, { recursive: true }));

const held = clouds("held", 21);
/** The mean of the greatest logit; less is better. */
const greatest: Metric = {
  name: "greatest",
  better: "lower",
  begin() {
    let [sum, samples] = [0, 0];
    return {
      add({ scores, labels, shape }) {
        expect([scores.length, labels.length, shape]).toEqual([3, 1, [1, 3]]);
        sum += Math.max(...Array.from(scores));
        samples += 1;
      },
      result: () => (samples === 21 ? sum / samples : Number.NaN),
    };
  },
};

async function validations(trainer: Trainer, options: object): Promise<EvaluationResult[]> {
  const found: EvaluationResult[] = [];
  for await (const event of trainer.fit(train, options))
    if (event.event === "epoch" && event.validation) found.push(event.validation);
  return found;
}

test("each epoch has the figures that an evaluation of its model has, and a resumed run goes on with them", async () => {
  const metrics = ["f1", "top2", "auc", "confusion", "perplexity", greatest];
  const own: TrainerOptions = { ...plain, learningRate: 0.1, metrics };
  const trainer = await Trainer.create(network(), own);
  const fit = { epochs: 2, validation: held, checkpoint: folder, monitor: "greatest", keep: 1 };
  const [first, last] = await validations(trainer, fit);
  expect(Object.keys(first?.metrics ?? {})).toEqual(["f1", "top2", "auc", "perplexity", "greatest"]);
  const { classes, loss } = await evaluateModel(trainer.export(), held);
  expect(last?.metrics?.f1).toBeCloseTo(classes?.macro.f1 ?? Number.NaN, 12);
  expect(last?.metrics?.perplexity).toBeCloseTo(Math.exp(loss), 5);
  expect(last?.confusion).toEqual(classes?.confusion);
  expect(last?.perClass?.f1).toEqual(classes?.classes.map(({ f1 }) => f1));
  expect(last?.metrics?.greatest).toBeGreaterThan(0);

  await expect(Trainer.resume(folder)).rejects.toThrow(
    /metrics \(f1, top2, auc, confusion, perplexity, greatest\) are your own: give all of them again/,
  );
  const resumed = await Trainer.resume(folder, { metrics });
  const whole = await validations(await Trainer.create(network(), own), { epochs: 3, validation: held });
  expect(await validations(resumed, { epochs: 3, validation: held })).toEqual(whole.slice(2));
});

test("metrics do not change the run, and names are kept with it", async () => {
  const where = join(folder, "named");
  const expected = await losses(await Trainer.create(network(), plain), train, {
    epochs: 2,
    validation: held,
  });
  const trainer = await Trainer.create(network(), { ...plain, metrics: ["precision"] });
  const fit = { epochs: 1, validation: held, checkpoint: where };
  const before = await losses(trainer, train, fit);
  const resumed = await Trainer.resume(where);
  expect(resumed.options.metrics).toEqual(["precision"]);
  const after = await losses(resumed, train, {
    epochs: 2,
    validation: held,
    earlyStop: { patience: 1, monitor: "precision" },
  });
  expect([...before, ...after]).toEqual(expected);
});

test("refuses metrics that the loss has not, before a step is done", async () => {
  await expect(Trainer.create(network(), { ...plain, metrics: ["r3"] })).rejects.toThrow(/no metric "r3"/);
  const trainer = await Trainer.create(network(), { ...plain, metrics: ["r2"] });
  await expect(losses(trainer, train, { validation: held })).rejects.toThrow(/"r2" is not defined/);
  expect(trainer.steps).toBe(0);
});
