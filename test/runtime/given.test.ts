import { expect, test } from "vitest";
import {
  arrayDataset,
  crossEntropy,
  type Dataset,
  evaluateModel,
  type Model,
  predict,
  readModel,
  Trainer,
} from "../../src/index.ts";

const source = "models/mlp.onnx";
const data = arrayDataset(new Float32Array(4 * 784), new Int32Array(4), [1, 28, 28]);
const how = { objective: crossEntropy(), batch: 4 };
const first = (model: Model, samples: Dataset) => predict(model, samples, { batch: 4 }).next();

test.each<[string, unknown, string]>([
  ["bytes", new Uint8Array(3), "not an Uint8Array"],
  ["a promise", Promise.resolve(), "not a promise: await it"],
  ["a path", "m.onnx", 'not the text "m.onnx"'],
  ["nothing", undefined, "not undefined"],
])("%s in the place of a model are named", async (_, given, words) => {
  const message = `a model is what readModel gives (model = await readModel(…)), ${words}`;
  const model = given as Model;
  await expect(Trainer.create(model, how)).rejects.toThrow(message);
  await expect(evaluateModel(model, data, how)).rejects.toThrow(message);
  await expect(first(model, data)).rejects.toThrow(message);
});

test.each<[string, unknown, string]>([
  ["the parts of data", { train: data, test: data }, "give one of them, as in fit(data.train)"],
  ["arrays", [[1], [2]], "data are what arrayDataset, namedDataset or a loader gives, not an Array"],
  ["a promise", Promise.resolve(data), "not a promise: await it"],
])("%s in the place of a dataset are named", async (_, given, words) => {
  const dataset = given as Dataset;
  const model = await readModel(source);
  const trainer = await Trainer.create(model, how);
  await expect(trainer.fit(dataset, { validation: 0.5 }).next()).rejects.toThrow(words);
  await expect(trainer.evaluate(dataset)).rejects.toThrow(words);
  await trainer.release();
  await expect(evaluateModel(model, dataset, how)).rejects.toThrow(words);
  await expect(first(model, dataset)).rejects.toThrow(words);
});
