import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeModel, Trainer, type TrainingEvent } from "../../src/index.ts";
import { clouds, losses, network, plain, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-use-"));
});
afterAll(() => rm(folder, { recursive: true }));

const trainerOf = (stepsPerRun: number | "auto" = 1) => Trainer.create(network(), { ...plain, stepsPerRun });
const underWay = "a fit of this trainer, or a load, is under way: let it end, or leave its loop, before that";
const released = "the trainer was released: make another one, or resume its folder (Trainer.resume)";

test("a second fit beside one is refused, and the first is as if alone, to the bit", async () => {
  const alone = await trainerOf();
  const expected = await losses(alone, train, { epochs: 2 });
  const trainer = await trainerOf();
  const both = await Promise.allSettled([losses(trainer, train, { epochs: 2 }), losses(trainer, train)]);
  expect(both[0]).toEqual({ status: "fulfilled", value: expected });
  expect(both[1]).toMatchObject({ status: "rejected", reason: { code: "usage", message: underWay } });
  expect(encodeModel(trainer.export())).toEqual(encodeModel(alone.export()));
  // Afterwards the trainer takes another one.
  expect(await losses(trainer, train, { epochs: 3 })).toHaveLength(7);
});

test("while a fit waits between two events, no other begins and no checkpoint is loaded; then both do", async () => {
  const trainer = await trainerOf();
  await trainer.save(join(folder, "loaded"));
  const run = trainer.fit(train);
  await run.next();
  await expect(trainer.fit(train).next()).rejects.toThrow(underWay);
  await expect(trainer.load(join(folder, "loaded"))).rejects.toThrow(underWay);
  expect(trainer.steps).toBe(1);
  await run.return();
  await trainer.load(join(folder, "loaded"));
  expect(trainer.steps).toBe(0);
  expect(await losses(trainer, train)).toHaveLength(7);
});

test("a fit that is refused leaves the run as it was", async () => {
  const trainer = await trainerOf();
  const expected = await losses(await trainerOf(), train);
  await expect(trainer.fit(train, { epochs: 0 }).next()).rejects.toThrow("number of epochs");
  await expect(trainer.fit(undefined as never).next()).rejects.toThrow("not undefined");
  await trainer.save(join(folder, "refused"));
  expect(await losses(trainer, train)).toEqual(expected);
  const resumed = await Trainer.resume(join(folder, "refused"));
  expect(await losses(resumed, train)).toEqual(expected);
});

test.each([1, 3] as const)(
  "state and figures that are asked for while a step runs are those of a step, with %i in a run",
  async (stepsPerRun) => {
    const data = clouds("held", 40);
    const known: string[] = [];
    const figuresOf = async (trainer: Trainer) => JSON.stringify(await trainer.evaluate(data));
    const alone = await trainerOf(stepsPerRun);
    known.push(await figuresOf(alone));
    const expected: number[] = [];
    for await (const event of alone.fit(train, { epochs: 2 })) {
      if (event.event !== "step") continue;
      expected.push(event.loss);
      known.push(await figuresOf(alone));
    }
    const trainer = await trainerOf(stepsPerRun);
    const found: string[] = [];
    let over = false;
    const watch = async () => {
      while (!over) {
        found.push(await figuresOf(trainer));
        await trainer.readState();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    };
    const run = losses(trainer, train, { epochs: 2 }).finally(() => (over = true));
    await Promise.all([run, watch()]);
    expect(await run).toEqual(expected);
    expect(found.length).toBeGreaterThan(1);
    expect(found.filter((one) => !known.includes(one))).toEqual([]);
    expect(encodeModel(trainer.export())).toEqual(encodeModel(alone.export()));
  },
);

test("parameters that are set while a step runs are refused, and the step counts", async () => {
  const trainer = await trainerOf();
  const expected = await losses(await trainerOf(), train);
  const before = trainer.state();
  const run = trainer.fit(train);
  const seen: number[] = [];
  const first = run.next();
  let refused = 0;
  // Until the step has begun, its session is free.
  for (let tries = 0; tries < 1000 && refused === 0 && trainer.steps === 0; tries++) {
    await new Promise((resolve) => setImmediate(resolve));
    try {
      trainer.takeOver(before);
    } catch (error) {
      expect(String(error)).toContain("steps are under way");
      refused += 1;
    }
  }
  const { value } = await first;
  if (value?.event === "step") seen.push(value.loss);
  for await (const event of run) if (event.event === "step") seen.push(event.loss);
  expect(seen).toEqual(expected);
  expect(refused).toBe(1);
});

test("a released trainer says so, whatever is asked of it, and is released twice", async () => {
  const trainer = await trainerOf();
  await losses(trainer, train);
  await Promise.all([trainer.release(), trainer.release()]);
  await trainer.release();
  const asked: readonly (() => unknown)[] = [
    () => trainer.fit(train).next(),
    () => trainer.evaluate(train),
    () => trainer.save(join(folder, "never")),
    () => trainer.load(folder),
    () => trainer.export(),
    () => trainer.state(),
    () => trainer.readState(),
    () => trainer.takeOver({}),
    () => trainer.parameters(),
    () => trainer.setParameters([]),
  ];
  for (const ask of asked) {
    await expect((async () => ask())(), ask.toString()).rejects.toThrow(released);
  }
  expect(trainer.steps).toBe(7);
});

test("a trainer that is released in the loop of its fit ends it with an end event", async () => {
  const trainer = await trainerOf(3);
  const events: TrainingEvent[] = [];
  const fit = { epochs: 2, validation: 0.5, checkpoint: join(folder, "left") };
  for await (const event of trainer.fit(train, fit)) {
    events.push(event);
    if (events.length === 2) await trainer.release();
  }
  expect(events.at(-1)).toMatchObject({ event: "end", stopped: "aborted", step: 2 });
  expect(events).toHaveLength(3);
});

test("a trainer that is released while a step runs, or an evaluation, ends both well", async () => {
  const trainer = await trainerOf();
  const events: TrainingEvent[] = [];
  const run = (async () => {
    for await (const event of trainer.fit(train, { epochs: 1000, validation: 0.5 })) events.push(event);
  })();
  const figures = trainer.evaluate(clouds("many", 20_000)).then(
    () => "done",
    (error: unknown) => String(error),
  );
  while (events.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await trainer.release();
  await run;
  expect(events.at(-1)).toMatchObject({ event: "end", stopped: "aborted" });
  expect(["done", `UsageError: ${released}`]).toContain(await figures);
});
