import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  adamw,
  arrayDataset,
  crossEntropy,
  definePenalty,
  type PenaltyPlan,
  sgd,
  so,
  som,
  srip,
  Trainer,
  type TrainerOptions,
  type TrainingEvent,
} from "../../src/index.ts";

import { equalBytes } from "../../src/onnx/wire.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { StepFeeder } from "../../src/runtime/step-feeds.ts";
import { scalarsOfSteps } from "../../src/runtime/step-scalars.ts";
import { smallBatch, smallNetwork, trainedPenalties } from "../penalties/small-network.ts";

type StepEvent = Extract<TrainingEvent, { readonly event: "step" }>;

const [batch, size] = [10, 50];
const perEpoch = size / batch;
const samples = smallBatch(0, size);
const train = arrayDataset(samples.x, Int32Array.from(samples.y), [2, 6, 6]);
const model = smallNetwork();
const options = {
  ...{ objective: crossEntropy(), optimizer: adamw(), batch, learningRate: 1e-2, threads: 1, seed: 3 },
} satisfies TrainerOptions;
/** Random rows, drawn each epoch, and random vectors, drawn each step. */
const drawing: readonly PenaltyPlan[] = [
  { penalty: som({ rows: "random", directions: 12 }), weight: 0.3, include: /fc|m/ },
  { penalty: srip(), weight: 0.01, include: /c/, schedule: "srip" },
];
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-penalties-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function run(own: Partial<TrainerOptions>, epochs = 3) {
  const trainer = await Trainer.create(model, { ...options, ...own });
  const steps: StepEvent[] = [];
  for await (const event of trainer.fit(train, { epochs })) if (event.event === "step") steps.push(event);
  const { bytes } = trainer.export();
  await trainer.release();
  return { steps, bytes };
}

const figures = (steps: readonly StepEvent[]) =>
  steps.map(({ step, loss, penalty, penalties }) => ({ step, loss, penalty, penalties }));

describe("penalties that draw random numbers", () => {
  test("give the same bits for the same seed, in single steps and in a loop", async () => {
    const single = await run({ penalties: drawing, stepsPerRun: 1 });
    const again = await run({ penalties: drawing, stepsPerRun: 1 });
    // 3 does not divide the 5 steps of an epoch: no run goes on into the next one, whose directions are others.
    const loop = await run({ penalties: drawing, stepsPerRun: 3 });
    expect(figures(again.steps)).toEqual(figures(single.steps));
    expect(figures(loop.steps)).toEqual(figures(single.steps));
    expect(equalBytes(loop.bytes, single.bytes)).toBe(true);
    const other = await run({ penalties: drawing, seed: 4 });
    expect(other.steps[0]?.penalties).not.toEqual(single.steps[0]?.penalties);
  });

  test("go on bit for bit when a run is resumed in the middle of an epoch", async () => {
    const own = { ...options, penalties: drawing };
    const whole = await run(own);
    const first = await Trainer.create(model, own);
    const controller = new AbortController();
    const steps: StepEvent[] = [];
    for await (const event of first.fit(train, { epochs: 3, signal: controller.signal })) {
      if (event.event === "step") steps.push(event);
      if (event.step === perEpoch + 2) controller.abort();
    }
    expect(steps).toHaveLength(perEpoch + 2);
    await first.save(join(folder, "resume"));
    await first.release();
    const second = await Trainer.resume(join(folder, "resume"));
    for await (const event of second.fit(train, { epochs: 3 })) if (event.event === "step") steps.push(event);
    expect(figures(steps)).toEqual(figures(whole.steps));
    expect(equalBytes(second.export().bytes, whole.bytes)).toBe(true);
    await second.release();
  });

  test("draw directions of length 1 once an epoch, vectors once a step", async () => {
    const trainer = await Trainer.create(model, { ...options, penalties: drawing });
    const { step } = trainer;
    const feeder = new StepFeeder(step.ports, train, 3, {});
    feeder.fill(Uint32Array.from({ length: batch }, (_, i) => i));
    const feedsOf = (number: number) => {
      const at = { position: { step: number - 1 }, done: number, epoch: Math.floor((number - 1) / perEpoch) };
      const feeds = feeder.feeds(scalarsOfSteps(step, options, { ...at, totalSteps: 15 }));
      return (anew: string) => {
        const port = step.ports.draws.find((draw) => draw.anew === anew);
        return [...((port && feeds.get(port.name)?.numbers()) ?? [])];
      };
    };
    const [one, two, six] = [feedsOf(1), feedsOf(2), feedsOf(6)];
    expect(one("epoch")).toEqual(two("epoch"));
    expect(one("epoch")).not.toEqual(six("epoch"));
    expect(one("step")).not.toEqual(two("step"));
    const columns = step.ports.draws.find(({ anew }) => anew === "epoch")?.shape[1] ?? 0;
    const lengths = Array.from({ length: 12 }, (_, i) =>
      Math.hypot(...one("epoch").slice(i * columns, (i + 1) * columns)),
    );
    for (const length of lengths) expect(length).toBeCloseTo(1, 6);
    await trainer.release();
  });
});

describe("what each penalty adds to the loss", () => {
  const several: readonly PenaltyPlan[] = [
    { penalty: som(), weight: 0.2, include: /c1|fc/ },
    { penalty: so(), weight: 0.05, schedule: "warmup:steps=10" },
  ];

  test("adds up to the penalty's share, with the schedules", async () => {
    const { steps } = await run({ penalties: several, penaltySchedule: "cosine" });
    for (const { penalties, penaltyShare, loss, penalty, step } of steps) {
      const { som: ofSom = 0, so: ofSo = 0 } = penalties;
      expect(Object.keys(penalties)).toEqual(["som", "so"]);
      expect(ofSom + ofSo).toBeCloseTo(penaltyShare * loss, 5);
      const all = 0.2 * 0.5 * (1 + Math.cos((Math.PI * (step - 1)) / (3 * perEpoch)));
      expect(ofSom + ofSo).toBeCloseTo(all * penalty, 2);
    }
    // A warmup's first steps: so is not there at once.
    const shares = steps.map(({ penalties }) => penalties.so ?? 0);
    expect(shares[0]).toBeLessThan(0.3 * Math.max(...shares));
  });

  test("is told as the mean of an epoch", async () => {
    const trainer = await Trainer.create(model, { ...options, penalties: several });
    let sum = 0;
    for await (const event of trainer.fit(train, { epochs: 2 })) {
      if (event.event === "step") sum += event.penalties.so ?? 0;
      if (event.event !== "epoch") continue;
      expect(event.penalties.so).toBeCloseTo(sum / perEpoch, 12);
      sum = 0;
    }
    await trainer.release();
  });

  test("of a single penalty, its schedule is that of the weight", async () => {
    const half = await run({ penalties: [{ penalty: so(), weight: 0.1, schedule: () => 0.5 }] }, 1);
    const plain = await run({ penalties: [{ penalty: so(), weight: 0.05 }] }, 1);
    expect(figures(half.steps)).toEqual(figures(plain.steps));
    const none = await run({ penalties: [{ penalty: so(), weight: 0.1, schedule: () => 0 }] }, 1);
    expect(none.steps.every(({ penalties }) => penalties.so === 0)).toBe(true);
    expect(equalBytes(none.bytes, (await run({}, 1)).bytes)).toBe(true);
  });
});

test("a schedule that is a function is given again when a run is resumed", async () => {
  const penalties = [{ penalty: so(), weight: 0.1, schedule: () => 0.5 }];
  const trainer = await Trainer.create(model, { ...options, penalties, schedule: () => 1 });
  const where = join(folder, "functions");
  await trainer.save(where);
  await trainer.release();
  await expect(Trainer.resume(where)).rejects.toThrow("the run's schedule is a function: give it again");
  await expect(Trainer.resume(where, { schedule: "cosine" })).rejects.toThrow(
    /the run's penalties have a schedule that is a function/,
  );
  await (await Trainer.resume(where, { schedule: "cosine", penalties })).release();
});

describe("a penalty of one's own", () => {
  const decay = definePenalty({
    name: "decay",
    on: "weights",
    defaults: {},
    applies: () => true,
    build: ({ weight, g }) => g.reduceSum(g.square(weight)),
  });

  test("is trained with, and resumed by giving it again", async () => {
    const penalties = [{ penalty: decay(), weight: 0.5 }];
    const trainer = await Trainer.create(model, { ...options, optimizer: sgd(), penalties });
    const values: number[] = [];
    for await (const event of trainer.fit(train, { epochs: 2 }))
      if (event.event === "step") values.push(event.penalty);
    expect(values.at(-1)).toBeLessThan(0.95 * (values[0] ?? 0));
    await trainer.save(join(folder, "own"));
    await trainer.release();
    await expect(Trainer.resume(join(folder, "own"))).rejects.toThrow(
      /the run's penalty "decay" is your own/,
    );
    const again = await Trainer.resume(join(folder, "own"), { penalties });
    expect(again.steps).toBe(2 * perEpoch);
    await again.release();
  });
});

test("every penalty lowers itself", async () => {
  // Over few directions, what is left is noise, new each epoch.
  for (const text of trainedPenalties.map((text) => text.replace("directions=16", "directions=512"))) {
    const { steps } = await run({ penalties: [{ ...parsePlan(text), weight: 10 }] }, 9);
    const [first = 0, last = 0] = [0, 8].map((epoch) =>
      steps.slice(epoch * perEpoch, (epoch + 1) * perEpoch).reduce((sum, { penalty }) => sum + penalty, 0),
    );
    expect(last, text).toBeLessThan(0.9 * first);
  }
});
