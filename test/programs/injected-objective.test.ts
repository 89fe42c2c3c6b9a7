import { beforeAll, expect, it } from "vitest";
import {
  arrayDataset,
  buildArtifacts,
  buildStep,
  crossEntropy,
  differentiate,
  evaluateModel,
  inject,
  type Model,
  meanSquaredError,
  predict,
  readModel,
  som,
  Trainer,
} from "../../src/index.ts";
import { huber } from "../../src/losses/public.ts";

const penalties = [{ penalty: som(), weight: 0.5 }];
const objective = huber({ delta: 0.5 });
const numbers = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i + 1));
const data = arrayDataset(numbers(8 * 784), numbers(80), [1, 28, 28], { targetShape: [10] });
const batch = 4;
let model: Model;
let injected: Model;
beforeAll(async () => {
  model = await readModel("models/mlp.onnx");
  injected = await inject(model, { penalties, objective });
});

const nodesOf = ({ proto }: Model) => JSON.stringify(proto.graph?.node);

it("gradients, steps and artifacts of an injected model have the loss that inject added", async () => {
  const messages: string[] = [];
  const onMessage = (message: string) => messages.push(message);
  const own = { objective, penalties, batch };
  const gradient = await differentiate(injected, { batch, onMessage });
  expect(nodesOf(gradient.model)).toBe(nodesOf((await differentiate(model, own)).model));
  expect(messages).toContain(
    "loss: huber:delta=0.5, which inject added to the model; objective (--objective) names another",
  );
  expect(nodesOf((await buildStep(injected, { batch })).model)).toBe(
    nodesOf((await buildStep(model, own)).model),
  );
  expect(nodesOf((await buildArtifacts(injected, { batch })).training)).toBe(
    nodesOf((await buildArtifacts(model, own)).training),
  );
});

it("its output is the same loss, another objective takes its place, and a product with a Jacobian has none", async () => {
  const named = await buildStep(injected, { batch, loss: "loss" });
  expect(nodesOf(named.model)).toBe(nodesOf((await buildStep(injected, { batch })).model));
  const other = await buildStep(injected, { batch, objective: meanSquaredError() });
  expect(nodesOf(other.model)).toBe(
    nodesOf((await buildStep(model, { batch, objective: meanSquaredError(), penalties })).model),
  );
  await expect(buildStep(injected, { batch, loss: "logits" })).rejects.toThrow("a loss is one number");
  const { loss } = await differentiate(injected, { batch, jacobian: true, wrt: /fc2.bias/ });
  expect(loss).toBe("");
});

it("a trainer learns with it, and records it; evaluate and predict read it from the file", async () => {
  const trainer = await Trainer.create(injected, { batch, threads: 1 });
  try {
    const losses: number[] = [];
    for await (const event of trainer.fit(data, { maxSteps: 2 })) {
      if (event.event === "step") losses.push(event.loss);
    }
    const plain = await Trainer.create(model, { objective, penalties, batch, threads: 1 });
    const expected: number[] = [];
    for await (const event of plain.fit(data, { maxSteps: 2 })) {
      if (event.event === "step") expected.push(event.loss);
    }
    await plain.release();
    expect(losses).toEqual(expected);
    expect(trainer.options.objective).toMatchObject({ name: "huber", options: { delta: 0.5 } });
  } finally {
    await trainer.release();
  }
  const measured = await evaluateModel(injected, data);
  expect(measured.loss).toBe((await evaluateModel(model, data, { objective })).loss);
  expect(measured.loss).not.toBe(
    (await evaluateModel(injected, data, { objective: meanSquaredError() })).loss,
  );
  const first = (await predict(injected, data).next()).value;
  expect(first).toHaveProperty("scores");
});

it("a loss with options of its own keeps them", async () => {
  const smooth = crossEntropy({ labelSmoothing: 0.3 });
  const classes = await inject(model, { penalties, objective: smooth });
  expect(nodesOf((await buildStep(classes, { batch })).model)).toBe(
    nodesOf((await buildStep(model, { batch, objective: smooth, penalties })).model),
  );
});
