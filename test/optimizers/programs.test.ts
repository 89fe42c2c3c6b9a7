import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  arrayDataset,
  buildSplitStep,
  buildStep,
  crossEntropy,
  initialState,
  type Optimizer,
  readModel,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import {
  accumulate,
  adamw,
  averageWeights,
  chain,
  clipByGlobalNorm,
  nadam,
  perParameter,
  sgd,
} from "../../src/optimizers/public.ts";
import { clippings, optimizerFactories } from "../../src/optimizers/table.ts";
import type { UpdateOptions } from "../../src/programs/options.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { maxDifference, relativeError } from "../helpers/numbers.ts";
import { advanced, opened, type Values } from "../helpers/step-graphs.ts";
import { modelFixture } from "../oracles/references.ts";

// Whatever is added to the tables of optimizers and clippings is trained here in every form.
const optimizers: Record<string, Optimizer> = Object.fromEntries([
  ...optimizerFactories.map((make) => [make.definition.name, make()]),
  ...clippings.map(({ flag, make }) => [
    `${flag}, then the first optimizer`,
    chain(make(0.05), optimizerFactories[0]?.() as Optimizer),
  ]),
  [
    "the mean of three batches",
    accumulate(3, clippings[0]?.make(0.5) as Optimizer, adamw(), averageWeights(0.5)),
  ],
  [
    "everything cut, the last optimizer, averages",
    chain(
      ...clippings.map(({ make }) => make(0.1)),
      optimizerFactories.at(-1)?.() as Optimizer,
      averageWeights(0.5),
    ),
  ],
]);

const cases: Record<string, UpdateOptions> = {
  ...Object.fromEntries(Object.entries(optimizers).map(([name, optimizer]) => [name, { optimizer }])),
  "groups, no decay of biases, a mean of weights": {
    optimizer: accumulate(2, clipByGlobalNorm(0.1), nadam({ weightDecay: 0.1 })),
    groups: [
      { match: /fc1.weight/, learningRate: 0.01, weightDecay: 0.2 },
      { match: /bias/, freezeUntil: 3 },
    ],
    ...{ noDecay: true, swa: { start: 2, every: 2 } },
  },
};

/** 20-32-16-10, 8 samples. */
const network = () => modelFixture("training/mlp.onnx");
const [batch, features, classes, size] = [8, 20, 10, 40];
const x = uniform("programs.x", size * features);
const y = labels("programs.y", size, classes);
const data = arrayDataset(x, Int32Array.from(y), [features]);
const options: TrainerOptions = { objective: crossEntropy(), learningRate: 0.02, threads: 1, seed: 1 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-optimizers-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function trained(
  trainer: Trainer,
  maxSteps: number,
  checkpoint?: string,
): Promise<Record<string, number[]>> {
  const fit = { epochs: 3, maxSteps, ...(checkpoint !== undefined && { checkpoint }) };
  for await (const _ of trainer.fit(data, fit));
  const { parameters, slots } = trainer.state();
  await trainer.release();
  return Object.fromEntries([
    ...[...parameters].map(([name, tensor]) => [name, tensor.numbers()]),
    ...[...slots].flatMap(([name, own]) =>
      [...own].map(([slot, tensor]) => [`${name}.${slot}`, tensor.numbers()] as const),
    ),
  ]);
}

const fed = (index: number): Values => {
  const rows = x.slice(index * batch * features, (index + 1) * batch * features);
  return {
    x: Tensor.float("x", [batch, features], rows),
    labels: Tensor.of(
      "labels",
      "int32",
      [batch],
      Int32Array.from(y.slice(index * batch, (index + 1) * batch)),
    ),
    learning_rate: Tensor.float("learning_rate", [], [0.02]),
    step: Tensor.float("step", [], [index + 1]),
    // That of a group.
    "learning_rate.1": Tensor.float("learning_rate.1", [], [0.01]),
  };
};

describe.each(Object.entries(cases))("%s", (name, updates) => {
  test("two graphs give the bits of one: gradients are not cut before they are exchanged", async () => {
    const own = { objective: crossEntropy(), ...updates };
    const [whole, split] = [await buildStep(network(), own), await buildSplitStep(network(), own)];
    const plain = await buildSplitStep(network(), { objective: crossEntropy(), optimizer: gradientDescent });
    const [run, gradients, update] = [
      await opened(whole.model),
      await opened(split.gradients),
      await opened(split.update),
    ];
    let one = await (await opened(initialState(whole)))({});
    let two = await (await opened(initialState({ ...split, model: split.update })))({});
    const untouched = await (await opened(plain.gradients))({ ...two, ...fed(0) });
    for (let index = 0; index < 4; index++) {
      const joined = await run({ ...one, ...fed(index) });
      const slopes = await gradients({ ...two, ...fed(index) });
      if (index === 0) {
        for (const [output, tensor] of Object.entries(untouched)) {
          expect(slopes[output]?.numbers(), output).toEqual(tensor.numbers());
        }
      }
      one = advanced(one, joined);
      two = advanced(two, { ...slopes, ...(await update({ ...two, ...fed(index), ...slopes })) });
    }
    expect(Object.keys(two).sort()).toEqual(Object.keys(one).sort());
    for (const [input, tensor] of Object.entries(one)) {
      expect(two[input]?.numbers(), input).toEqual(tensor.numbers());
    }
  });

  test("steps in a Loop, and steps after a resume, have the bits of single steps", async () => {
    const own = { ...options, ...updates };
    const single = await trained(await Trainer.create(network(), { ...own, stepsPerRun: 1 }), 11);
    const loop = await trained(await Trainer.create(network(), { ...own, stepsPerRun: 4 }), 11);
    expect(loop).toEqual(single);
    const where = join(folder, name.replace(/\W/g, "-"));
    await trained(await Trainer.create(network(), { ...own, stepsPerRun: 1 }), 4, where);
    const resumed = await Trainer.resume(where);
    expect(await trained(resumed, 11)).toEqual(single);
  });
});

/** Gradient descent, of the interface for one parameter. */
const gradientDescent = perParameter({
  ...{ name: "descent", options: {}, slots: [] },
  update: (g, { parameter, gradient, learningRate }) => ({
    ...{ parameter: g.sub(parameter, g.mul(gradient, learningRate)), slots: [] },
  }),
  reference: ({ parameter, gradient, learningRate }) => ({
    ...{ parameter: parameter.map((w, i) => w - learningRate * (gradient[i] ?? 0)), slots: [] },
  }),
});

test("four batches of two samples make the update of one batch of eight; before, nothing moves", async () => {
  const optimizer = sgd({ momentum: 0.9, weightDecay: 0.1 });
  const model = await readModel("models/mlp.onnx");
  const own = { objective: crossEntropy() };
  const whole = await buildStep(model, { ...own, optimizer, batch: 8 });
  const parts = await buildStep(model, { ...own, optimizer: accumulate(4, optimizer), batch: 2 });
  const [once, again] = [await opened(whole.model), await opened(parts.model)];
  let large = await (await opened(initialState(whole)))({});
  let small = await (await opened(initialState(parts)))({});
  const samples = (update: number, from: number, rows: number, step: number): Values => ({
    x: Tensor.float(
      "x",
      [rows, 1, 28, 28],
      uniform(`parts.x.${update}`, 8 * 784).slice(from * 784, (from + rows) * 784),
    ),
    labels: Tensor.of(
      "labels",
      "int32",
      [rows],
      Int32Array.from(labels(`parts.y.${update}`, 8, 10)).slice(from, from + rows),
    ),
    learning_rate: Tensor.float("learning_rate", [], [0.02]),
    step: Tensor.float("step", [], [step]),
  });
  for (let update = 0; update < 3; update++) {
    large = advanced(large, await once({ ...large, ...samples(update, 0, 8, update + 1) }));
    for (let part = 0; part < 4; part++) {
      const fedPart = samples(update, part * 2, 2, update * 4 + part + 1);
      const next = advanced(small, await again({ ...small, ...fedPart }));
      for (const [input, tensor] of Object.entries(small)) {
        const waits = part < 3 && !input.endsWith(".accumulated");
        if (waits) expect(maxDifference(next[input]?.numbers() ?? [], tensor.numbers()), input).toBe(0);
      }
      small = next;
    }
    for (const [input, tensor] of Object.entries(large)) {
      expect(relativeError(small[input]?.numbers() ?? [], tensor.numbers()), input).toBeLessThan(1e-6);
    }
  }
});
