import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type CheckpointKind,
  exportCheckpoint,
  type FitOptions,
  Trainer,
  type TrainerOptions,
  type TrainingEvent,
} from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { decisionsBy } from "../../src/runtime/best-epochs.ts";
import { network, plain, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-early-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A run whose validation loss goes up and down. */
const restless: TrainerOptions = { ...plain, learningRate: 0.3, stepsPerRun: 4 };
/** A run that does not change. */
const still: TrainerOptions = { ...plain, learningRate: 0, batchNorm: "frozen" };

async function eventsOf(trainer: Trainer, options: FitOptions): Promise<TrainingEvent[]> {
  const events: TrainingEvent[] = [];
  for await (const event of trainer.fit(train, options)) events.push(event);
  return events;
}
const lossesOf = (events: readonly TrainingEvent[]) =>
  events.flatMap(({ event, loss }) => (event === "step" ? [loss] : []));
const checkpoints = async (where: string) =>
  (await readdir(where)).filter((name) => name.endsWith(".safetensors")).sort();

describe("decisions are a function of the history", () => {
  const figures = new Map([
    ["loss", "lower"],
    ["accuracy", "higher"],
    ["f1", "higher"],
  ] as const);
  const historyOf = (name: string, values: readonly number[]) =>
    values.map((value, i) => ({
      ...{ epoch: i + 1, step: i + 1, loss: 0 },
      validation: {
        ...{ loss: 0, accuracy: 0, [name]: value },
        metrics: name === "f1" ? { f1: value } : {},
      },
    }));
  const nan = Number.NaN;
  /** Figure, its values, early stopping, and the epoch at which PyTorch Lightning and Keras stop. */
  test.each([
    ["loss", [3, 2, 1, 1, 1], { patience: 2 }, 5],
    ["loss", [3, 2, 2.1, 1.9, 1.95, 2], { patience: 2 }, 6],
    ["loss", [3, 2, 1.95, 1.91], { patience: 2, minimumChange: 0.1 }, 4],
    // Small steps add up until they exceed the minimum change.
    ["loss", [3, 2.95, 2.85, 2.8, 2.7], { patience: 2, minimumChange: 0.1 }, undefined],
    ["loss", [1, 2], { patience: 1 }, 2],
    ["loss", [nan, nan], { patience: 2 }, 2],
    ["loss", [2, nan, 1, nan], { patience: 2 }, undefined],
    ["val_accuracy", [0.5, 0.6, 0.6, 0.55], { patience: 2 }, 4],
    ["val_accuracy", [0.5, 0.6, 0.65, 0.7], { patience: 1 }, undefined],
    ["f1", [0.9, 0.8, 0.7], { patience: 2 }, 3],
  ] as const)("%s %j with %j ends after epoch %s", (monitor, values, earlyStop, epoch) => {
    const history = historyOf(monitor.replace("val_", ""), values);
    const decide = decisionsBy({ monitor, earlyStop }, figures);
    const over = history.findIndex((_, i) => decide(history.slice(0, i + 1)).isOver);
    expect(over < 0 ? undefined : over + 1).toBe(epoch);
  });

  test("the best epochs are kept, of equal ones the earlier", () => {
    const decide = decisionsBy({ monitor: "accuracy", keep: 2 }, figures);
    const history = historyOf("accuracy", [0.5, nan, 0.7, 0.5, 0.6, 0.7]);
    const made = history.map((_, i) => decide(history.slice(0, i + 1)));
    expect(made.map(({ isBest }) => isBest)).toEqual([true, false, true, false, false, false]);
    expect(made.map(({ isKept }) => isKept)).toEqual([true, true, true, false, true, true]);
    expect(made.map(({ fallen }) => fallen)).toEqual([[], [], [2], [], [1], [5]]);
  });
});

describe("a run that no longer improves", () => {
  test("ends early, and resumed goes on epoch by epoch", async () => {
    const where = join(folder, "still");
    const trainer = await Trainer.create(network(), still);
    const fit = { epochs: 9, validation: 0.2, earlyStop: { patience: 2 }, checkpoint: where };
    const events = await eventsOf(trainer, fit);
    expect(events.at(-1)).toMatchObject({ event: "end", epoch: 3, stopped: "early" });
    expect(lossesOf(await eventsOf(await Trainer.resume(where), { checkpoint: where }))).toHaveLength(6);
    const further = await eventsOf(await Trainer.resume(where), { earlyStop: 3, maxSteps: 40 });
    expect(further.at(-1)).toMatchObject({ epoch: 5, stopped: "early" });
    const whole = await eventsOf(await Trainer.resume(where), { earlyStop: false });
    expect(whole.at(-1)).toMatchObject({ epoch: 9 });
    expect(whole.at(-1)).not.toHaveProperty("stopped");
    await eventsOf(await Trainer.resume(where), { earlyStop: false, checkpoint: where });
    await expect(eventsOf(await Trainer.resume(where), { earlyStop: false })).rejects.toThrow(
      "the run does not end early: leave out earlyStop (--no-early-stop)",
    );
  });

  test("at its last epoch has ended as planned", async () => {
    const trainer = await Trainer.create(network(), still);
    const end = (await eventsOf(trainer, { epochs: 2, validation: 0.2, earlyStop: 1 })).at(-1);
    expect(end).toMatchObject({ event: "end", epoch: 2 });
    expect(end).not.toHaveProperty("stopped");
  });

  test("stopped anywhere, it ends where the whole one does, bit for bit, with the same checkpoints", async () => {
    const fit = { epochs: 12, validation: 0.3, earlyStop: 3, keep: 2, monitor: "accuracy" };
    const whole = await Trainer.create(network(), restless);
    const at = join(folder, "whole");
    const expected = await eventsOf(whole, { ...fit, checkpoint: at });
    const end = expected.at(-1);
    expect(end).toMatchObject({ stopped: "early" });
    const epochs = end?.epoch ?? 0;
    for (const [i, [event, number]] of (
      [
        ["step", 8],
        ["epoch", 2],
        ["epoch", epochs],
      ] as const
    ).entries()) {
      const where = join(folder, `part${i}`);
      const trainer = await Trainer.create(network(), restless);
      const controller = new AbortController();
      const before: TrainingEvent[] = [];
      for await (const one of trainer.fit(train, { ...fit, checkpoint: where, signal: controller.signal })) {
        before.push(one);
        if (one.event === event && number === (event === "step" ? one.step : one.epoch)) controller.abort();
      }
      await trainer.release();
      const resumed = await Trainer.resume(where);
      const after = await eventsOf(resumed, { checkpoint: where });
      expect([...lossesOf(before), ...lossesOf(after)]).toEqual(lossesOf(expected));
      expect(after.at(-1)).toMatchObject({ step: end?.step, stopped: "early" });
      expect(equalBytes(resumed.export().bytes, whole.export().bytes)).toBe(true);
      const kept = await checkpoints(where);
      expect(kept).toEqual(await checkpoints(at));
      for (const kind of kept.map((name) => name.replace(".safetensors", "") as CheckpointKind)) {
        const [one, other] = [
          await exportCheckpoint(where, { from: kind }),
          await exportCheckpoint(at, { from: kind }),
        ];
        expect(equalBytes(one.bytes, other.bytes)).toBe(true);
      }
    }
  });
});

test("the best checkpoints hold the weights of their epochs; those that fall out are removed", async () => {
  const where = join(folder, "kept");
  const trainer = await Trainer.create(network(), restless);
  const epochs: { epoch: number; loss: number; bytes: Uint8Array }[] = [];
  const kinds: string[] = [];
  for await (const event of trainer.fit(train, { epochs: 7, validation: 0.3, keep: 3, checkpoint: where })) {
    if (event.event === "checkpoint") kinds.push(event.kind);
    if (event.event !== "epoch") continue;
    epochs.push({ epoch: event.epoch, loss: event.validation?.loss ?? 0, bytes: trainer.export().bytes });
  }
  const best = epochs.toSorted((a, b) => a.loss - b.loss).slice(0, 3);
  // Else nothing fell out.
  expect(best.map(({ epoch }) => epoch).sort()).not.toEqual([1, 2, 3]);
  const named = best.map(({ epoch }) => `epoch-${epoch}` as const);
  expect(await checkpoints(where)).toEqual(
    ["best", ...named.toSorted(), "last"].map((kind) => `${kind}.safetensors`),
  );
  expect(new Set(kinds)).toEqual(new Set([...kinds, ...named, "best", "last"]));
  for (const [i, kind] of named.entries()) {
    const bytes = best[i]?.bytes ?? new Uint8Array();
    expect(equalBytes((await exportCheckpoint(where, { from: kind })).bytes, bytes)).toBe(true);
  }
  expect(
    equalBytes((await exportCheckpoint(where, { from: "best" })).bytes, best[0]?.bytes ?? new Uint8Array()),
  ).toBe(true);
  const other = [1, 2, 3, 4, 5, 6, 7].find((epoch) => best.every((one) => one.epoch !== epoch)) ?? 0;
  await expect(exportCheckpoint(where, { from: `epoch-${other}` })).rejects.toThrow(
    /kept if it is among the best/,
  );
});

const refused: readonly (readonly [FitOptions, RegExp])[] = [
  [{ earlyStop: 2 }, /early stopping needs held-out samples: .*--validation 0.1/],
  [{ keep: 2, checkpoint: "x" }, /keeping the best checkpoints needs held-out samples/],
  [{ monitor: "loss" }, /a monitored figure needs held-out samples/],
  [{ keep: 2, validation: 0.2 }, /needs a folder for them: give checkpoint/],
  [
    { earlyStop: 0, validation: 0.2 },
    /patience of early stopping must be a whole number of 1 or more, not 0/,
  ],
  [{ earlyStop: { patience: 1, minimumChange: -1 }, validation: 0.2 }, /minimum change .* 0 or more/],
  [{ keep: 0, validation: 0.2, checkpoint: "x" }, /checkpoints to keep must be a whole number of 1 or more/],
  [{ monitor: "f2", validation: 0.2 }, /no figure "f2" to monitor: this run computes loss, accuracy on/],
  [{ earlyStop: { patience: 1, monitor: "val_auc" }, validation: 0.2 }, /no figure "val_auc"/],
];
test("refuses options that would have no effect", async () => {
  const trainer = await Trainer.create(network(), plain);
  for (const [options, message] of refused) await expect(eventsOf(trainer, options)).rejects.toThrow(message);
});
