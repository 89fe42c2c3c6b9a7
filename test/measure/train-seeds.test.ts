import { expect, test } from "vitest";
import { Trainer, trainSeeds } from "../../src/index.ts";
import { meanInterval } from "../../src/measure/mean-interval.ts";
import { clouds, losses, network, plain, train } from "../runtime/small-run.ts";

const heldOut = clouds("test", 20);

test("trainSeeds trains once for each seed, and gives the mean and its interval", async () => {
  const seen: number[] = [];
  const { seeds, runs, summary } = await trainSeeds(network(), train, {
    ...plain,
    ...{ seeds: [3, 5, 8], epochs: 2, validation: 0.2, test: heldOut, metrics: ["f1"] },
    onEvent: ({ event }, seed) => void (event === "end" && seen.push(seed)),
  });
  expect([seeds, seen, runs.map(({ seed }) => seed)]).toEqual([
    [3, 5, 8],
    [3, 5, 8],
    [3, 5, 8],
  ]);
  // The second run is the one that a trainer with this seed does.
  const alone = await Trainer.create(network(), { ...plain, seed: 5, metrics: ["f1"] });
  await losses(alone, train, { epochs: 2, validation: 0.2 });
  expect(runs[1]?.model.bytes).toEqual(alone.export().bytes);
  expect(runs[1]?.test).toEqual(await alone.evaluate(heldOut));
  const accuracies = runs.map((run) => run.test?.accuracy ?? Number.NaN);
  expect(summary["test.accuracy"]).toEqual(meanInterval(accuracies));
  expect(Object.keys(summary)).toEqual(
    expect.arrayContaining(["loss", "validation.loss", "validation.f1", "test.loss", "test.f1"]),
  );
});

test("an aborted run is left out", async () => {
  const controller = new AbortController();
  const options = { ...plain, seeds: [1, 2], epochs: 1, signal: controller.signal };
  const stop = (_: unknown, seed: number) => void (seed === 2 && controller.abort());
  const { runs } = await trainSeeds(network(), train, { ...options, onEvent: stop });
  expect(runs.map(({ seed }) => seed)).toEqual([1]);
});

test.each([
  [[], "needs seeds"],
  [[1, 1], "the seed 1 is given twice"],
  [[-1], "a seed must be"],
])("seeds %j are refused", async (seeds, words) => {
  await expect(trainSeeds(network(), train, { ...plain, seeds })).rejects.toThrow(words);
});
