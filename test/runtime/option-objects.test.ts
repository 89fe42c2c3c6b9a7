import { runInNewContext } from "node:vm";
import { beforeAll, describe, expect, it } from "vitest";
import {
  addAdapters,
  arrayDataset,
  bench,
  buildArtifacts,
  buildSplitStep,
  buildStep,
  crossEntropy,
  differentiate,
  evaluateModel,
  findLearningRate,
  freeBatch,
  generatorDataset,
  inject,
  inspect,
  type Model,
  mergeAdapters,
  observe,
  predict,
  readModel,
  recoverBatchNorm,
  replaceHead,
  responseAngles,
  sampleFeeds,
  som,
  Trainer,
  tap,
  trainablePart,
  trainerAngles,
  trainSeeds,
  unmerge,
  updateBatchNorm,
  verify,
  weightAngles,
} from "../../src/index.ts";

const data = arrayDataset(new Float32Array(8 * 784), new Int32Array(8), [1, 28, 28]);
const how = { objective: crossEntropy(), batch: 4 };
let model: Model;
beforeAll(async () => {
  model = await readModel("models/mlp.onnx");
});

type Call = (options: never) => Promise<unknown>;

/** A function that takes a trainer, which is freed afterwards. */
const withTrainer =
  (call: (trainer: Trainer, options: never) => Promise<unknown>): Call =>
  async (options) => {
    const trainer = await Trainer.create(model, how);
    try {
      return await call(trainer, options);
    } finally {
      await trainer.release();
    }
  };

/** Functions of the library, each called with what it is given as its options. */
const calls: Readonly<Record<string, Call>> = {
  inspect: (options) => inspect(model, options),
  inject: (options) => inject(model, options),
  verify: (options) => verify(model, model, options),
  weightAngles: (options) => weightAngles(model, options),
  responseAngles: (options) => responseAngles(model, new Map(), options),
  differentiate: (options) => differentiate(model, options),
  buildStep: (options) => buildStep(model, options),
  buildSplitStep: (options) => buildSplitStep(model, options),
  buildArtifacts: (options) => buildArtifacts(model, options),
  tap: (options) => tap(model, options),
  freeBatch: (options) => freeBatch(model, options),
  replaceHead: (options) => replaceHead(model, options),
  trainablePart: (options) => trainablePart(model, "biases", options),
  addAdapters: (options) => addAdapters(model, options),
  mergeAdapters: (options) => mergeAdapters(model, [], options),
  unmerge: (options) => unmerge(model, [], options),
  recoverBatchNorm: (options) => recoverBatchNorm(model, data, options),
  updateBatchNorm: (options) => updateBatchNorm(model, data, options),
  sampleFeeds: (options) => sampleFeeds(model, data, 2, options),
  evaluateModel: (options) => evaluateModel(model, data, options),
  predict: (options) => predict(model, data, options).next(),
  trainSeeds: (options) => trainSeeds(model, data, options),
  bench: (options) => bench(model, options),
  generatorDataset: (options) => generatorDataset(() => [], options),
  "a Trainer": (options) => Trainer.create(model, options),
  fit: withTrainer((trainer, options) => trainer.fit(data, options).next()),
  evaluate: withTrainer((trainer, options) => trainer.evaluate(data, options)),
  export: withTrainer(async (trainer, options) => trainer.export(options)),
  parameters: withTrainer((trainer, options) => trainer.parameters(options)),
  trainerAngles: withTrainer((trainer, options) => trainerAngles(trainer, data, options)),
  findLearningRate: withTrainer((trainer, options) => findLearningRate(trainer, data, options)),
  observe: withTrainer((trainer, options) => observe(trainer, data, trainer.fit(data), options).next()),
};

describe("options that are none, and unknown ones, are named by", () => {
  it.each(Object.entries(calls))("%s", async (name, call) => {
    const not = (given: unknown, words: string) =>
      expect(call(given as never), words).rejects.toThrow(
        `${name} takes its options as an object, as in { name: value }, not ${words}`,
      );
    await not(null, "null");
    await not(4, "4");
    await not("batch=4", 'the text "batch=4"');
    await not([4], "an Array");
    await not(new Map([["batch", 4]]), "a Map");
    await not(Promise.resolve({}), "a promise: await it");
    await expect(call({ onmesage: 1 } as never)).rejects.toThrow(`${name} has no option "onmesage"`);
  });
});

const text = "fc1";
const named = (option: string) => `${option} takes a regular expression, as in /^fc1$/, not the text "fc1"`;

/** Every option that takes a pattern of names. */
const patterns: readonly (readonly [string, (pattern: never) => Promise<unknown>])[] = [
  ["include", (include) => inject(model, { penalties: [{ penalty: som(), include }] })],
  ["exclude", (exclude) => inject(model, { penalties: [{ penalty: som(), exclude }] })],
  ["include", (include) => Trainer.create(model, { ...how, penalties: [{ penalty: som(), include }] })],
  ["include", (include) => Trainer.create(model, { ...how, lora: { include } })],
  ["exclude", (exclude) => Trainer.create(model, { ...how, lora: { exclude } })],
  ["feedforward", (feedforward) => Trainer.create(model, { ...how, lora: { ia3: true, feedforward } })],
  ["match", (match) => Trainer.create(model, { ...how, groups: [{ match, learningRate: 1 }] })],
  ["match", (match) => buildStep(model, { ...how, groups: [{ match, learningRate: 1 }] })],
  ...(["trainable", "alsoTrain", "freeze", "tie", "untie", "detach"] as const).flatMap((name) => [
    [name, (pattern: never) => Trainer.create(model, { ...how, [name]: pattern })] as const,
    [name, (pattern: never) => buildStep(model, { ...how, [name]: pattern })] as const,
    [name, (pattern: never) => buildArtifacts(model, { ...how, [name]: pattern })] as const,
    [name, (pattern: never) => differentiate(model, { ...how, [name]: pattern })] as const,
    [name, (pattern: never) => trainSeeds(model, data, { ...how, seeds: [1], [name]: pattern })] as const,
  ]),
  ...(["trainable", "alsoTrain", "freeze", "tie", "untie"] as const).map(
    (name) => [name, (pattern: never) => inspect(model, { [name]: pattern })] as const,
  ),
  ["wrt", (wrt) => differentiate(model, { ...how, wrt })],
  ["wrtInputs", (wrtInputs) => differentiate(model, { ...how, wrtInputs })],
  ["include", (include) => tap(model, { include })],
  ["exclude", (exclude) => tap(model, { include: /fc/, exclude })],
  ["op", (op) => tap(model, { op })],
  ["include", (include) => addAdapters(model, { include })],
  ["exclude", (exclude) => addAdapters(model, { exclude })],
  ["include", (include) => mergeAdapters(model, [], { include })],
  ["exclude", (exclude) => unmerge(model, [], { exclude })],
  ["include", (include) => recoverBatchNorm(model, data, { include })],
  ["exclude", (exclude) => recoverBatchNorm(model, data, { exclude })],
  ["alsoTrain", (alsoTrain) => trainablePart(model, "biases", { alsoTrain })],
  ["freeze", (freeze) => trainablePart(model, "biases", { freeze })],
];

it("a text in the place of a pattern is named, with its option", async () => {
  for (const [option, call] of patterns)
    await expect(call(text as never), option).rejects.toThrow(named(option));
  await expect(tap(model, { include: [/fc1/] as never })).rejects.toThrow("not an Array");
});

it("a pattern of another realm is one", async () => {
  const pattern = runInNewContext("/fc1/") as RegExp;
  expect(pattern instanceof RegExp).toBe(false);
  const names = async (include: RegExp) =>
    (await tap(model, { include })).proto.graph?.output?.map(({ name }) => name);
  expect(await names(pattern)).toEqual(await names(/fc1/));
  const groups = [{ match: pattern, learningRate: 0.5 }];
  const { ports } = await buildStep(model, { ...how, groups });
  expect(ports).toEqual(
    (await buildStep(model, { ...how, groups: [{ match: /fc1/, learningRate: 0.5 }] })).ports,
  );
});

/** One option of each other kind: a value that would be passed over or taken for another one, and what the refusal says. */
const others: readonly (readonly [string, () => Promise<unknown>])[] = [
  [
    'perSite is true or false, not the text "false"',
    () => inject(model, { penalties: [], perSite: "false" as never }),
  ],
  ["dora is true or false, not 0", () => addAdapters(model, { dora: 0 as never })],
  ["open is true or false, not 1", () => inspect(model, { open: 1 as never })],
  ["flat is true or false, not 1", () => calls.parameters?.({ flat: 1 } as never) as Promise<unknown>],
  ["averaged is true or false, not 1", () => calls.evaluate?.({ averaged: 1 } as never) as Promise<unknown>],
  [
    "past takes lengths by name, as in { x: 8 }, not an Array",
    () => inspect(model, { past: [["p", 4]] as never }),
  ],
  ["penalties is a list, as in [ … ], not an Object", () => inject(model, { penalties: som() as never })],
  ["prediction is a text, not 3", () => replaceHead(model, { classes: 3, prediction: 3 as never })],
  ['onMessage takes a function, not the text "log"', () => tap(model, { onMessage: "log" as never })],
  [
    "signal takes an AbortSignal, as in controller.signal, not an AbortController",
    () => evaluateModel(model, data, { signal: new AbortController() as never }),
  ],
];

it.each(others)("%s", (message, call) => expect(call()).rejects.toThrow(message));
