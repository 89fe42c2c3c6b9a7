import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { findLearningRate, so, Trainer, type TrainerOptions } from "../../src/index.ts";
import { suggestedRates } from "../../src/measure/find-learning-rate.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { losses, network, plain, train } from "../runtime/small-run.ts";

/** Curves and what they suggest by numpy.gradient and fastai's code; written by scripts/oracles/learning_rates.py. */
const curves = JSON.parse(readFileSync("test/fixtures/learning-rates.json", "utf8")) as Record<
  string,
  {
    readonly steps: number;
    readonly rates: readonly number[];
    readonly losses: readonly number[];
    readonly steepest: number;
    readonly valley: number;
  }
>;

describe("what a curve suggests", () => {
  test.each(Object.entries(curves))("%s", (_, { steps, rates, losses: smoothed, ...expected }) => {
    const points = rates.map((learningRate, i) => ({ learningRate, smoothed: smoothed[i] ?? 0 }));
    const { steepest, valley } = suggestedRates(points, steps);
    expect({ steepest, valley }).toEqual(expected);
  });

  test("nothing where the loss falls nowhere, or has hardly any points", () => {
    const rising = Array.from({ length: 30 }, (_, i) => ({ learningRate: 1.5 ** i, smoothed: 1 + i }));
    expect(suggestedRates(rising, 30)).toEqual({ steepest: undefined, valley: undefined });
    expect(suggestedRates(rising.slice(0, 2), 30)).toEqual({ steepest: undefined, valley: undefined });
    expect(suggestedRates([], 30)).toEqual({ steepest: undefined, valley: undefined });
  });
});

describe("a search for a learning rate", () => {
  const own: TrainerOptions = { ...plain, penalties: [{ penalty: so(), weight: 0.01 }] };
  const range = { min: 1e-5, max: 0.5, steps: 20 };
  const rise = range.max / range.min;

  test("is a run with rising rates, and leaves its trainer as it is", async () => {
    const timed: TrainerOptions = {
      ...own,
      penaltySchedule: "warmup:steps=5",
      penalties: [{ penalty: so(), weight: 0.01, schedule: "plateau" }],
    };
    const trainer = await Trainer.create(network(), { ...timed, schedule: "cosine" });
    const { points, suggestion, valley, stopped } = await findLearningRate(trainer, train, range);
    expect(stopped).toBeUndefined();
    expect(suggestion).toBe(valley);
    expect(points.map(({ learningRate }) => learningRate)).toEqual(
      Array.from({ length: 20 }, (_, i) => 1e-5 * rise ** (i / 19)),
    );
    const plainRun = await Trainer.create(network(), {
      ...{ ...own, learningRate: 1e-5 },
      schedule: (step) => rise ** ((step - 1) / 19),
    });
    expect(points.map(({ loss }) => loss)).toEqual(
      await losses(plainRun, train, { epochs: 3, maxSteps: 20 }),
    );
    let mean = 0;
    for (const [i, { loss, smoothed }] of points.entries()) {
      mean = 0.98 * mean + 0.02 * loss;
      expect(smoothed).toBeCloseTo(mean / (1 - 0.98 ** (i + 1)), 12);
    }
    expect(trainer.steps).toBe(0);
    expect(equalBytes(trainer.export().bytes, (await Trainer.create(network(), own)).export().bytes)).toBe(
      true,
    );
  });

  test("begins where its trainer stands, whose run goes on bit for bit", async () => {
    const whole = await Trainer.create(network(), own);
    const expected = await losses(whole, train, { epochs: 2 });
    const trainer = await Trainer.create(network(), own);
    const before: number[] = [];
    const found: number[] = [];
    for await (const event of trainer.fit(train, { epochs: 2 })) {
      if (event.event === "step") before.push(event.loss);
      if (event.event !== "step" || event.step !== 5) continue;
      for (let i = 0; i < 2; i++) {
        const { points } = await findLearningRate(trainer, train, { ...range, min: 1e-12, steps: 2 });
        found.push(points[0]?.loss ?? 0);
      }
    }
    expect(before).toEqual(expected);
    expect(found[0]).toBe(found[1]);
    const start = await findLearningRate(await Trainer.create(network(), own), train, { steps: 2 });
    expect(found[0]).toBeLessThan(start.points[0]?.loss ?? 0);
  });

  test("ends where the loss diverges, or at an abort", async () => {
    const trainer = await Trainer.create(network(), plain);
    const diverged = await findLearningRate(trainer, train, { min: 1e-3, max: 1e38, steps: 30 });
    expect(diverged.stopped).toBe("diverged");
    expect(diverged.points.length).toBeLessThan(30);
    expect(diverged.points.every(({ loss }) => Number.isFinite(loss))).toBe(true);
    // The curve ends at the first loss, averaged as fastai does, above four times the least one so far.
    const { points, stopped } = await findLearningRate(trainer, train, { min: 1e-3, max: 1e4, steps: 60 });
    let [mean, best] = [0, Number.POSITIVE_INFINITY];
    const above = points.map(({ loss }, i) => {
      mean = 0.98 * mean + 0.02 * loss;
      const smoothed = mean / (1 - 0.98 ** (i + 1));
      best = Math.min(best, smoothed);
      return smoothed > 4 * best;
    });
    expect(stopped).toBe("diverged");
    expect(above.indexOf(true)).toBe(points.length - 1);
    const controller = new AbortController();
    const onStep = (_: unknown, done: number) => done === 3 && controller.abort();
    const aborted = await findLearningRate(trainer, train, { ...range, signal: controller.signal, onStep });
    expect([aborted.stopped, aborted.points.length]).toEqual(["aborted", 3]);
  });

  test.each([
    [{ min: 0 }, /min, the first learning rate, must be a number above 0, not 0/],
    [{ max: Number.NaN }, /max, the last learning rate, must be a number above 0/],
    [{ min: 1, max: 1 }, /max, the last learning rate, must be above min \(1\), not 1/],
    [{ steps: 1 }, /the number of steps must be a whole number of 2 or more, not 1/],
  ])("refuses %j", async (options, says) => {
    const trainer = await Trainer.create(network(), plain);
    await expect(findLearningRate(trainer, train, options)).rejects.toMatchObject({
      ...{ code: "usage", message: expect.stringMatching(says) },
    });
  });
});
