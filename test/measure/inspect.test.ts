import { expect, test } from "vitest";
import { decodeModel, inject, inspect, readModel, som } from "../../src/index.ts";
import { officialFile } from "../artifacts/official-fixtures.ts";

test("inspect says which penalty was injected, into a model and into a training model", async () => {
  const penalties = [{ penalty: som({ gamma: 5 }), weight: 0.2 }];
  const model = await readModel("models/mlp.onnx");
  expect((await inspect(model)).block).toBeUndefined();
  const { options } = som({ gamma: 5 });
  const expected = { penalties: [{ name: "som", options, weight: 0.2 }] };
  const withObjective = await inspect(await inject(model, { penalties, objective: "cross-entropy" }));
  expect(withObjective.block).toEqual({ ...expected, loss: undefined, objective: "cross-entropy" });
  const training = decodeModel(officialFile("mlp/training_model.onnx"));
  expect((await inspect(training)).block).toBeUndefined();
  expect((await inspect(await inject(training, { penalties }))).block).toMatchObject(expected);
});
