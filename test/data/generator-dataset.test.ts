import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  arrayDataset,
  crossEntropy,
  type GeneratorOptions,
  generatorDataset,
  meanSquaredError,
  Trainer,
  type TrainingPass,
} from "../../src/index.ts";
import { describeData } from "../../src/runtime/describe-data.ts";
import { losses, network, plain, train } from "../runtime/small-run.ts";

/** The samples of the small run, rotated by the epoch, as an order of the user's own. */
const rows: { readonly x: Float32Array; readonly y: Int32Array } = {
  x: new Float32Array(60 * 6),
  y: new Int32Array(60),
};
train.fill(
  Array.from({ length: 60 }, (_, i) => i),
  rows.x,
  rows.y,
);
let begun = 0;
let most = 0;
async function* samples(pass: TrainingPass | undefined) {
  begun += 1;
  for (let i = 0; i < 60; i++) {
    const at = (i + 7 * (pass?.epoch ?? 0)) % 60;
    most = Math.max(most, i);
    await Promise.resolve();
    yield { x: rows.x.subarray(at * 6, at * 6 + 6), y: rows.y[at] ?? 0 };
  }
}
const options: GeneratorOptions = { size: 60, classes: 3 };

test("a generator's samples are trained on in their order, a pass for each epoch, and resume bit for bit", async () => {
  const data = await generatorDataset(samples, options);
  expect([data.x, data.y]).toEqual([
    { type: "float", shape: [6] },
    { type: "integer", shape: [], classes: 3 },
  ]);
  // A peek at the first sample, no more.
  expect([begun, most]).toEqual([1, 0]);
  const whole = await Trainer.create(network(), { ...plain, mixup: 0.2 });
  const expected = await losses(whole, data, { epochs: 3 });
  expect(begun).toBeLessThanOrEqual(5);

  // The same samples as arrays in the same order, through a dataset that is not shuffled.
  const arrays = arrayDataset(rows.x, rows.y, [6]);
  const own = { ...arrays, inOrder: true };
  const once = await losses(await Trainer.create(network(), { ...plain, mixup: 0.2 }), own, { epochs: 1 });
  expect(expected.slice(0, once.length)).toEqual(once);

  const folder = await mkdtemp(join(tmpdir(), "sorth-generator-"));
  const half = await Trainer.create(network(), { ...plain, mixup: 0.2 });
  const before = await losses(half, data, { epochs: 3, maxSteps: 11 });
  await half.save(folder);
  const resumed = await Trainer.resume(folder);
  const after = await losses(resumed, await generatorDataset(samples, options), { epochs: 3 });
  expect([...before, ...after]).toEqual(expected);
  expect(resumed.export().bytes).toEqual(whole.export().bytes);
  expect((await resumed.evaluate(data)).samples).toBe(60);
  await rm(folder, { recursive: true });
});

test("arrays may be reused, the samples that fill a batch up are not made anew, and each pass is ended", async () => {
  const [x, log] = [new Float32Array(6), { begun: 0, ended: 0 }];
  async function* reusing(pass: TrainingPass | undefined) {
    log.begun += 1;
    try {
      for await (const { y, ...sample } of samples(pass)) {
        x.set(sample.x);
        yield { x, y };
      }
    } finally {
      log.ended += 1;
    }
  }
  const [fresh, data] = [await generatorDataset(samples, options), await generatorDataset(reusing, options)];
  expect(log).toEqual({ begun: 1, ended: 1 });
  const [one, other] = await Promise.all([0, 1].map(() => Trainer.create(network(), plain)));
  const found = await losses(one as Trainer, data, { epochs: 2 });
  expect(found).toEqual(await losses(other as Trainer, fresh, { epochs: 2 }));
  await new Promise(setImmediate);
  expect(log).toEqual({ begun: 3, ended: 3 });
  // 60 samples are seven batches of eight and four samples, which four copies of the last fill up.
  expect(await one?.evaluate(data)).toEqual(await other?.evaluate(train));
  expect(log).toEqual({ begun: 4, ended: 4 });
});

test.each([
  ["classes", crossEntropy(), 0],
  ["numbers", meanSquaredError(), [0.5, 0.25, 0.125]],
])(
  "of many samples with %s as labels only those of the first batches are made for a step and a checkpoint",
  async (_, objective, y) => {
    let made = 0;
    const generate = function* () {
      for (let i = 0; i < 5000; i++, made++) yield { x: [0, 1, 2, 3, 4, i % 7], y };
    };
    const size = { size: 5000, ...(objective.name !== "mse" && { classes: 3 }) };
    const data = await generatorDataset(generate, size);
    const trainer = await Trainer.create(network(), { ...plain, objective, stepsPerRun: 1 });
    await losses(trainer, data, { maxSteps: 2 });
    const folder = await mkdtemp(join(tmpdir(), "sorth-generator-"));
    await trainer.save(folder);
    await losses(await Trainer.resume(folder), data, { maxSteps: 3 });
    // Peeks, two batches, and three again for the resumed run.
    expect(made).toBeLessThan(60);
    expect(describeData(data, trainer.step.ports, {})).toMatch(
      objective.name === "mse" ? /targets float \[3\]$/ : /labels of 3 classes$/,
    );
    await rm(folder, { recursive: true });
  },
);

test("an error of the generator ends the run before its step, and the run goes on with a generator that is well again", async () => {
  let fails = true;
  async function* failing(pass: TrainingPass | undefined) {
    let i = 0;
    for await (const sample of samples(pass)) {
      if (fails && ++i > 20) throw new RangeError("the camera is off");
      yield sample;
    }
  }
  const data = await generatorDataset(failing, options);
  const trainer = await Trainer.create(network(), plain);
  const list: number[] = [];
  const fitted = async () => {
    for await (const { event, loss } of trainer.fit(data)) if (event === "step") list.push(loss);
  };
  await expect(fitted()).rejects.toThrow(new RangeError("the camera is off"));
  expect(list.length).toBe(2);
  fails = false;
  list.push(...(await losses(trainer, data)));
  const whole = await losses(
    await Trainer.create(network(), plain),
    await generatorDataset(samples, options),
  );
  expect(list).toEqual(whole);
});

test.each<[string, () => Iterable<never>, Partial<GeneratorOptions>, string]>([
  ["none", function* () {}, {}, "yields no sample"],
  ["too few", () => [{ x: [0.5], y: 0 }] as never, {}, "ends after 1 samples, and sample 1 was asked for"],
  ["no size", () => [] as never, { size: 0 }, "size must be"],
  [
    "another shape",
    () =>
      [
        { x: [0.5], y: 0 },
        { x: [1, 2], y: 0 },
      ] as never,
    {},
    '"x" of sample 1 has 2 numbers, not 1',
  ],
  ["a missing array", () => [{ x: [0.5], y: 0 }, { x: [1] }] as never, {}, 'sample 1 has no "y"'],
  ["no number", () => [{ x: [Number.NaN], y: 0 }] as never, {}, '"x" holds NaN in sample 0'],
  [
    "fractions",
    () =>
      [
        { x: [0.5], y: 0 },
        { x: [1], y: 0.5 },
      ] as never,
    {},
    "yield a Float32Array for numbers",
  ],
  [
    "a class",
    () =>
      [
        { x: [0.5], y: 0 },
        { x: [1], y: 4 },
      ] as never,
    {},
    "is none of the 3 classes",
  ],
  [
    "an unknown shape",
    () => [{ x: [0.5], y: 0 }] as never,
    { shapes: { z: [1] } },
    "samples have no such array",
  ],
  ["no object", () => [{ x: [0.5], y: 0 }, 7] as never, {}, "yield an object"],
  ["nothing to go through", () => undefined as never, {}, "does not return an iterator of samples"],
  ["a promise", () => Promise.resolve([]) as never, {}, "write function* or async function*"],
])("refuses %s", async (_, generate, more, words) => {
  const read = async () => {
    const data = await generatorDataset(generate, { size: 2, classes: 3, ...more });
    await data.fill([0, 1], new Float32Array(2), new Int32Array(2));
  };
  await expect(read()).rejects.toThrow(words);
});

test("a share of generated samples cannot be held out", async () => {
  const trainer = await Trainer.create(network(), plain);
  const data = await generatorDataset(samples, options);
  await expect(losses(trainer, data, { validation: 0.2 })).rejects.toThrow(
    "give validation a dataset of its own",
  );
});
