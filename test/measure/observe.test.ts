import { describe, expect, test } from "vitest";
import { shuffledIndices } from "../../src/data/batches.ts";
import { subset } from "../../src/data/dataset.ts";
import {
  arrayDataset,
  crossEntropy,
  type Dataset,
  differentiate,
  type ObservationEvent,
  observe,
  type PenaltyPlan,
  readModel,
  SorthError,
  sgd,
  som,
  Trainer,
  type TrainerOptions,
  type TrainingEvent,
  trainerAngles,
  weightAngles,
} from "../../src/index.ts";
import type { ObserveOptions } from "../../src/measure/observe.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { labels, uniform } from "../helpers/lcg.ts";

const size = 40;
const batch = 8;
const dataset = arrayDataset(
  uniform("observed x", size * 784),
  Int32Array.from(labels("observed y", size, 10)),
  [1, 28, 28],
);
const penalties: readonly PenaltyPlan[] = [{ penalty: som(), weight: 0.3 }];
const trainerOf = async (options: Partial<TrainerOptions> = {}) =>
  Trainer.create(await readModel("models/mlp.onnx"), {
    ...{ objective: crossEntropy(), batch, optimizer: sgd(), learningRate: 0.05, threads: 1, penalties },
    ...options,
  });

async function run(
  trainer: Trainer,
  fit: Parameters<Trainer["fit"]>[1],
  options: ObserveOptions = {},
  data: Dataset = dataset,
): Promise<(TrainingEvent | ObservationEvent)[]> {
  const events = [];
  for await (const event of observe(trainer, data, trainer.fit(data, fit), options)) events.push(event);
  return events;
}

const kinds = (events: readonly { event: string; step: number }[]) =>
  events.filter(({ event }) => event !== "step").map(({ event, step }) => `${event} ${step}`);

describe("observe", () => {
  test("measures before the first step, after each epoch, and at an end between epochs", async () => {
    const trainer = await trainerOf();
    const events = await run(trainer, { epochs: 3, maxSteps: 12 });
    expect(kinds(events)).toEqual([
      ...["angles 0", "gradients 0", "epoch 5", "angles 5", "gradients 5", "epoch 10", "angles 10"],
      ...["gradients 10", "angles 12", "gradients 12", "end 12"],
    ]);
    expect(events.findIndex(({ event }) => event === "step")).toBe(2);
    // A run that goes on has been measured where it stands.
    expect(kinds(await run(trainer, { epochs: 3 }))).toEqual([
      "epoch 15",
      "angles 15",
      "gradients 15",
      "end 15",
    ]);
  });

  test("an interrupted run ends at once", async () => {
    const controller = new AbortController();
    const trainer = await trainerOf();
    const events: string[] = [];
    const fit = trainer.fit(dataset, { epochs: 1, signal: controller.signal });
    for await (const event of observe(trainer, dataset, fit)) {
      events.push(`${event.event} ${event.step}`);
      if (event.step === 2) controller.abort();
    }
    expect(events.slice(-2)).toEqual(["step 2", "end 2"]);
  });

  test("the run is the same, bit for bit", async () => {
    const plain = await trainerOf();
    for await (const _ of plain.fit(dataset, { epochs: 2 }));
    const observed = await trainerOf();
    await run(observed, { epochs: 2 });
    for (const [name, { data }] of plain.state().parameters) {
      expect(observed.state().parameters.get(name)?.data).toEqual(data);
    }
  });

  test("angles are those of the model at that time", async () => {
    const trainer = await trainerOf();
    const events = await run(trainer, { epochs: 1 }, { gradients: false });
    const found = events.flatMap((event) => (event.event === "angles" ? [event] : []));
    expect(found.map(({ step, epoch }) => [step, epoch])).toEqual([
      [0, 0],
      [5, 1],
    ]);
    for (const [index, model] of [trainer.model, trainer.export()].entries()) {
      const { layers } = await weightAngles(model);
      expect(found[index]?.layers.map(({ name, weights }) => [name, weights?.spread])).toEqual(
        layers.map(({ name, spread }) => [name, spread]),
      );
    }
    expect(found[1]?.layers.every(({ responses }) => (responses?.spread ?? 0) > 0)).toBe(true);
  });

  test("norms are those of the two gradients, computed apart", async () => {
    const trainer = await trainerOf();
    const [first] = (await run(trainer, { maxSteps: 1 }, { weights: false, samples: 0 })).flatMap((event) =>
      event.event === "gradients" ? [event] : [],
    );
    // The first batch in the order of the run, and graphs of the loss with and without penalty.
    const chosen = subset(dataset, shuffledIndices(0, 0, size).subarray(0, batch));
    const [x, y] = [new Float32Array(batch * 784), new Int32Array(batch)];
    chosen.fill(
      Uint32Array.from({ length: batch }, (_, i) => i),
      x,
      y,
    );
    const feeds = new Map([
      ["x", Tensor.of("x", "float", [batch, 1, 28, 28], x)],
      ["labels", Tensor.of("labels", "int32", [batch], y)],
    ]);
    const gradients = async (own: readonly PenaltyPlan[]) => {
      const options = { objective: crossEntropy(), batch, penalties: own };
      const { model, gradients: names } = await differentiate(trainer.model, options);
      const results = await nodeProbe.run(model.bytes, feeds);
      return new Map([...names].map(([name, output]) => [name, results.get(output)?.numbers() ?? []]));
    };
    const [alone, both] = [await gradients([]), await gradients(penalties)];
    const norm = (values: readonly number[]) => Math.hypot(...values);
    const parts = [...alone].map(([name, loss]) => ({
      ...{ name, loss },
      penalty: (both.get(name) ?? []).map((value, i) => value - (loss[i] ?? 0)),
    }));
    const close = (actual: number | undefined, expected: number, what: string) =>
      expect(Math.abs((actual ?? Number.NaN) / expected - 1), what).toBeLessThan(1e-4);
    for (const { name, loss, penalty } of parts) {
      const found = first?.parameters.find((one) => one.name === name);
      close(found?.loss, norm(loss), `${name}, loss`);
      close(found?.penalty, norm(penalty), `${name}, penalty`);
    }
    const [losses, both2] = [parts.flatMap(({ loss }) => loss), parts.flatMap(({ penalty }) => penalty)];
    close(first?.total.loss, norm(losses), "loss");
    close(first?.total.penalty, norm(both2), "penalty");
    const product = losses.reduce((sum, value, i) => sum + value * (both2[i] ?? 0), 0);
    expect(first?.total.cosine).toBeCloseTo(product / norm(losses) / norm(both2), 4);
  });

  test("a schedule of the penalty's weight counts", async () => {
    const measured = async (penaltySchedule?: () => number) => {
      const trainer = await trainerOf(penaltySchedule === undefined ? {} : { penaltySchedule });
      const events = await run(trainer, { maxSteps: 2 }, { weights: false, samples: 0 });
      return events.flatMap((event) => (event.event === "gradients" ? [event.total] : []));
    };
    const [whole] = await measured();
    const [tenth] = await measured(() => 0.1);
    expect(tenth?.loss).toBe(whole?.loss);
    expect((tenth?.penalty ?? 0) / (whole?.penalty ?? 1)).toBeCloseTo(0.1, 5);
  });

  test("a run without a penalty has no gradients to compare", async () => {
    const trainer = await trainerOf({ penalties: [] });
    expect(kinds(await run(trainer, { epochs: 1 }, { samples: 0 }))).toEqual([
      ...["angles 0", "epoch 5", "angles 5", "end 5"],
    ]);
  });

  test("what cannot be measured is said once, and the run goes on", async () => {
    const messages: string[] = [];
    const trainer = await trainerOf();
    const onMessage = (message: string) => messages.push(message);
    const events = await run(trainer, { epochs: 2 }, { gamma: -1, gradients: false, onMessage });
    expect(messages).toEqual(["response angles are not in the report: gamma must be above 0, not -1"]);
    expect(kinds(events)).toEqual(["angles 0", "epoch 5", "angles 5", "epoch 10", "angles 10", "end 10"]);
  });
});

describe("trainerAngles", () => {
  test("are those of the model that the run would export now", async () => {
    const trainer = await trainerOf();
    for await (const { event } of trainer.fit(dataset, { epochs: 1 })) if (event === "step") break;
    const layers = await trainerAngles(trainer, dataset, { samples: 16, vectors: true, cosines: true });
    const { layers: weights } = await weightAngles(trainer.export(), { vectors: true, spectra: false });
    expect(layers.map((layer) => layer.weights)).toEqual(weights);
    expect(layers.map(({ responses }) => responses?.rows)).toEqual([16, 16, 16]);
    expect(layers.every(({ responses }) => responses?.cosines)).toBe(true);
    expect(trainer.steps).toBe(1);
    await trainer.release();
  });

  test("leave out what is not asked for, and refuse samples that do not fit", async () => {
    const trainer = await trainerOf();
    const [first] = await trainerAngles(trainer, dataset, { weights: false, samples: 8 });
    expect([first?.weights, first?.responses?.cosines]).toEqual([undefined, undefined]);
    expect(await trainerAngles(trainer, dataset, { weights: false, samples: 0 })).toEqual([]);
    const other = arrayDataset(new Float32Array(8 * 7), new Int32Array(8), [7]);
    await expect(trainerAngles(trainer, other)).rejects.toThrow(SorthError);
    await trainer.release();
  });
});
