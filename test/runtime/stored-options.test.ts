import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adamw, crossEntropy, so, Trainer, type TrainerOptions } from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { trainerOptionNames } from "../../src/runtime/check-trainer-options.ts";
import { optionsFromText, optionsToText } from "../../src/runtime/stored-options.ts";
import { clouds, losses, network, plain, stoppedAt, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-stored-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** What a checkpoint does not hold on purpose: functions of the caller, and the teacher, which lies beside it as a model. */
const notStored = ["onMessage", "onMemory", "teacher"] as const;

/** Every option, away from its default: one that is new does not compile until it stands here. */
const all: Required<Omit<TrainerOptions, (typeof notStored)[number]>> = {
  ...{ batch: 3, dims: { time: 5 }, loss: "own", output: "logits", teacherOutput: "taught", siamese: 2 },
  objective: crossEntropy({ labelSmoothing: 0.2 }),
  penalties: [{ penalty: so(), weight: 0.02, include: /^FC/i, exclude: /x/, schedule: "warmup:steps=3" }],
  ...{ trainable: /a/i, alsoTrain: /b/s, freeze: /c/, tie: /d/y, untie: /e/u },
  ...{
    recompute: true,
    checkpointEvery: 4,
    straightThrough: true,
    detach: /^hidden$/i,
    precision: "mixed:init-scale=4",
  },
  ...{ batchNorm: "frozen", runningVariance: "torch", optimizer: adamw({ weightDecay: 0.3 }) },
  ...{ applyPenalties: "decoupled", noDecay: true, ema: 0.9, swa: { start: 2, every: 3 } },
  groups: [{ match: /^FC1/i, learningRate: 0.05, weightDecay: 0.1, freezeUntil: 12 }],
  ...{
    backend: "webgpu",
    stepsPerRun: 2,
    threads: 1,
    allowFallback: true,
    learningRate: 0.5,
    buckets: [3, 5],
  },
  ...{
    schedule: "cosine:warmup=1",
    penaltyWeight: 0.2,
    penaltyShare: 0.1,
    penaltySchedule: "warmup:steps=5",
  },
  ...{ normalize: { mean: [0.5], std: [2] }, mixup: 0.3, metrics: ["f1"], seed: 7 },
  lora: { rank: 3, include: /FC/i, exclude: /x/, feedforward: /y/s, dropout: 0.1 },
};

describe("the options of a checkpoint", () => {
  test("every option that a trainer takes is among them, patterns with their flags", () => {
    expect([...Object.keys(all), ...notStored].sort()).toEqual(Object.keys(trainerOptionNames).sort());
    const read: Partial<TrainerOptions> = optionsFromText(optionsToText(all));
    const { objective, optimizer, penalties: _, ...plainly } = all;
    expect(read).toMatchObject(plainly);
    expect(read.objective).toMatchObject({ name: objective.name, options: { labelSmoothing: 0.2 } });
    expect(read.optimizer).toMatchObject({ name: "adamw", options: { weightDecay: 0.3 } });
    const plan = { weight: 0.02, include: /^FC/i, exclude: /x/, schedule: "warmup:steps=3" };
    expect(read.penalties).toMatchObject([{ ...plan, penalty: { options: so().options } }]);
  });

  test.each<[string, TrainerOptions]>([
    [
      "averages of weights, a share of penalties beside the loss, and further parameters",
      {
        ...{ swa: { start: 3, every: 2 }, applyPenalties: "decoupled", penaltyShare: 0.2 },
        ...{ penalties: [so()], alsoTrain: /^bn.mean/, runningVariance: "torch" },
      },
    ],
    [
      "penalties as a retraction, and scaled numbers",
      {
        ...{ applyPenalties: "retraction", penalties: [so()], penaltyWeight: 1e-3 },
        normalize: { mean: [0.5], std: [2] },
      },
    ],
  ])("a run with %s goes on with nothing but its folder, bit for bit", async (name, options) => {
    const own = { ...plain, ...options };
    const whole = await Trainer.create(network(), own);
    const expected = await losses(whole, train, { epochs: 2 });
    const { where, before } = await stoppedAt(5, network(), own, { epochs: 2 }, join(folder, name));
    const resumed = await Trainer.resume(where);
    expect([...before, ...(await losses(resumed, clouds("train", 60)))]).toEqual(expected);
    expect(equalBytes(resumed.export().bytes, whole.export().bytes)).toBe(true);
  });
});
