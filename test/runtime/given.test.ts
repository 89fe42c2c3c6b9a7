import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import {
  type Adapter,
  adapterOf,
  addAdapters,
  arrayDataset,
  bench,
  buildArtifacts,
  buildSplitStep,
  buildStep,
  crossEntropy,
  type Dataset,
  differentiate,
  distribute,
  encodeModel,
  encodeOnnxAdapter,
  evaluateModel,
  findLearningRate,
  foldBatchNorm,
  freeBatch,
  generatorDataset,
  graphOf,
  inject,
  innerValues,
  inspect,
  loadAdapter,
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
  strip,
  Trainer,
  tap,
  trainablePart,
  trainerAngles,
  trainSeeds,
  unmerge,
  updateBatchNorm,
  verify,
  weightAngles,
  withWeights,
  writeModel,
  writeOnnxAdapter,
} from "../../src/index.ts";

const source = "models/mlp.onnx";
const data = arrayDataset(new Float32Array(4 * 784), new Int32Array(4), [1, 28, 28]);
const how = { objective: crossEntropy(), batch: 4 };
const penalties = [som()];
const first = (model: Model, samples: Dataset) => predict(model, samples, { batch: 4 }).next();

/** Every function that takes a model, with what else it needs. */
const takers: Readonly<Record<string, (model: Model) => unknown>> = {
  inspect: (model) => inspect(model),
  inject: (model) => inject(model, { penalties }),
  strip: (model) => strip(model),
  "verify the first": async (model) => verify(model, await readModel(source)),
  "verify the second": async (model) => verify(await readModel(source), model),
  weightAngles: (model) => weightAngles(model),
  responseAngles: (model) => responseAngles(model, new Map()),
  differentiate: (model) => differentiate(model, how),
  buildStep: (model) => buildStep(model, how),
  buildSplitStep: (model) => buildSplitStep(model, how),
  buildArtifacts: (model) => buildArtifacts(model, how),
  tap: (model) => tap(model, { include: /fc1/ }),
  innerValues: (model) => innerValues(model),
  freeBatch: (model) => freeBatch(model),
  replaceHead: (model) => replaceHead(model, { classes: 3 }),
  trainablePart: (model) => trainablePart(model, "biases"),
  addAdapters: (model) => addAdapters(model),
  mergeAdapters: (model) => mergeAdapters(model),
  unmerge: (model) => unmerge(model, []),
  loadAdapter: (model) => loadAdapter(model, {} as Adapter),
  adapterOf: (model) => adapterOf(model),
  encodeOnnxAdapter: (model) => encodeOnnxAdapter(model),
  writeOnnxAdapter: (model) => writeOnnxAdapter(model, "never.onnx_adapter"),
  foldBatchNorm: (model) => foldBatchNorm(model),
  recoverBatchNorm: (model) => recoverBatchNorm(model, data),
  updateBatchNorm: (model) => updateBatchNorm(model, data),
  sampleFeeds: (model) => sampleFeeds(model, data, 2),
  evaluateModel: (model) => evaluateModel(model, data, how),
  predict: (model) => first(model, data),
  trainSeeds: (model) => trainSeeds(model, data, { ...how, seeds: [1] }),
  bench: (model) => bench(model, { ...how, backends: ["cpu"] }),
  distribute: (model) => distribute(model, { ...how, output: "never", workers: 2 }),
  writeModel: (model) => writeModel(model, "never.onnx"),
  encodeModel: (model) => encodeModel(model),
  graphOf: (model) => graphOf(model),
  withWeights: (model) => withWeights(model, new Map()),
  "Trainer.create": (model) => Trainer.create(model, how),
};

const others: readonly (readonly [string, unknown, string])[] = [
  ["bytes", new Uint8Array(3), "not an Uint8Array"],
  ["a promise", Promise.resolve(), "not a promise: await it"],
  ["a path", "m.onnx", 'not the text "m.onnx"'],
  ["nothing", undefined, "not undefined"],
  ["a function", readModel, "not a function"],
  ["a symbol", Symbol("m"), "not Symbol(m)"],
  ["bytes of another realm", runInNewContext("new Uint8Array(3)"), "not an Uint8Array"],
];

test.each(Object.entries(takers))("%s names what is given in the place of a model", async (_, take) => {
  for (const [, given, words] of others) {
    const message = `a model is what readModel gives (model = await readModel(…)), ${words}`;
    await expect((async () => take(given as Model))()).rejects.toThrow(message);
  }
});

test.each<[string, unknown, string]>([
  ["the parts of data", { train: data, test: data }, "give one of them, as in fit(data.train)"],
  ["arrays", [[1], [2]], "data are what arrayDataset, namedDataset or a loader gives, not an Array"],
  ["a promise", Promise.resolve(data), "not a promise: await it"],
  ["nothing", undefined, "not undefined"],
])("%s in the place of a dataset are named", async (_, given, words) => {
  const dataset = given as Dataset;
  const model = await readModel(source);
  const trainer = await Trainer.create(model, how);
  const run = trainer.fit(data);
  await expect(trainer.fit(dataset, { validation: 0.5 }).next()).rejects.toThrow(words);
  await expect(trainer.evaluate(dataset)).rejects.toThrow(words);
  await expect(trainerAngles(trainer, dataset)).rejects.toThrow(words);
  await expect(findLearningRate(trainer, dataset)).rejects.toThrow(words);
  await expect(observe(trainer, dataset, run).next()).rejects.toThrow(words);
  await trainer.release();
  await expect(evaluateModel(model, dataset, how)).rejects.toThrow(words);
  await expect(first(model, dataset)).rejects.toThrow(words);
  await expect(sampleFeeds(model, dataset, 2)).rejects.toThrow(words);
  await expect(recoverBatchNorm(model, dataset)).rejects.toThrow(words);
  await expect(updateBatchNorm(model, dataset)).rejects.toThrow(words);
  await expect(trainSeeds(model, dataset, { ...how, seeds: [1] })).rejects.toThrow(words);
});

test("what is no trainer, no adapter, no generator and no part of a model is named", async () => {
  const model = await readModel(source);
  const trainer = "trainer" as unknown as Trainer;
  const says =
    'a trainer is what Trainer.create gives (trainer = await Trainer.create(…)), not the text "trainer"';
  await expect(trainerAngles(trainer, data)).rejects.toThrow(says);
  await expect(findLearningRate(trainer, data)).rejects.toThrow(says);
  await expect(observe(trainer, data, (async function* () {})()).next()).rejects.toThrow(says);
  const adapter = "adapter.safetensors" as unknown as Adapter;
  const adapters =
    'an adapter is what readAdapter, decodeAdapter or adapterOf gives, not the text "adapter.saf';
  for (const call of [mergeAdapters, unmerge, loadAdapter])
    await expect(call(model, adapter)).rejects.toThrow(adapters);
  await expect(generatorDataset([] as never, { size: 1 })).rejects.toThrow(
    "takes a generator function, not an Array",
  );
  await expect(trainablePart(model, "bias" as never)).rejects.toThrow('not the text "bias"');
  const feeds =
    "data are a Map of tensors by input, as sampleFeeds gives, not a dataset: write await sampleFeeds";
  await expect(responseAngles(model, data as never)).rejects.toThrow(feeds);
  await expect(verify(model, model, { feeds: data as never })).rejects.toThrow("feeds are a Map of tensors");
  await expect(replaceHead(model, { classes: "cat" as never })).rejects.toThrow('not the text "cat"');
});
