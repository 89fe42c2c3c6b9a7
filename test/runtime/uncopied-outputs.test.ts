import { expect, test } from "vitest";
import { adamw, arrayDataset, buildStep, crossEntropy, readModel, som, Trainer } from "../../src/index.ts";
import { Tensor as OwnTensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { cpuBackend } from "../../src/runtime/cpu-node.ts";
import { HostStepSession } from "../../src/runtime/host-step-session.ts";
import { ortNode } from "../../src/runtime/ort-node.ts";
import { StepFeeder } from "../../src/runtime/step-feeds.ts";
import { leavingOutputs, uncopied } from "../../src/runtime/uncopied-outputs.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";

const [batch, features, classes, steps] = [8, 784, 10, 16];
const data = arrayDataset(
  randomFloats("uncopied x", steps * batch * features),
  Int32Array.from(randomInts("uncopied y", steps * batch, 0, classes)),
  [1, 28, 28],
);
const scalars = {
  epoch: 0,
  learningRate: 1e-3,
  rateFactor: 1,
  penaltyWeight: 0.1,
  schedules: new Map<string, number>(),
};
const options = { objective: crossEntropy(), optimizer: adamw(), penalties: [som()], batch };

test("a step returns no copy of its state", async () => {
  const trainer = await Trainer.create(await readModel("models/mlp.onnx"), {
    ...options,
    stepsPerRun: 1,
    backend: "cpu",
  });
  const { parameters } = trainer.state();
  const state = 3 * [...parameters.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  const held: number[] = [];
  for await (const event of trainer.fit(data, { epochs: 1 })) {
    if (event.event === "step") held.push(process.memoryUsage().arrayBuffers);
  }
  await trainer.release();
  expect(held.length).toBe(steps);
  // Copies would be 16 states, as long as nothing collects them.
  expect(Math.max(...held) - Math.min(...held)).toBeLessThan(2 * state);
});

test("with and without the binding's copies: the same bits", async () => {
  const quiet = await uncopied();
  expect(
    quiet,
    "onnxruntime-node converts outputs in another way: its steps copy the whole state",
  ).toBeDefined();
  const step = await buildStep(await readModel("models/mlp.onnx"), options);
  const feeder = new StepFeeder(step.ports, data, 0, {});
  await feeder.fill(
    Uint32Array.from({ length: batch }, (_, i) => i),
    0,
  );
  const { Tensor, InferenceSession } = await ortNode();
  const open = async (which: typeof quiet) => {
    const { bytes } = which ? leavingOutputs(step.model) : step.model;
    return new HostStepSession(
      await InferenceSession.create(bytes, { logSeverityLevel: 4 }),
      step,
      Tensor,
      which,
    );
  };
  const [copied, left, own] = [await open(undefined), await open(quiet), await cpuBackend.openStep(step, {})];
  for (let i = 1; i <= 3; i++) {
    const feeds = feeder.feeds([{ ...scalars, number: i, update: i }]);
    const expected = await copied.run(feeds);
    expect(await left.run(feeds)).toEqual(expected);
    expect((await own.run(feeds))[0]?.loss).toBeCloseTo(expected[0]?.loss ?? Number.NaN, 6);
  }
  for (const [name, { bytes }] of copied.state()) {
    expect(equalBytes(left.state().get(name)?.bytes ?? new Uint8Array(), bytes), name).toBe(true);
  }
  const feeds = new Map(feeder.feeds([{ ...scalars, number: 4, update: 4 }]));
  const [input, images] = [...feeds].find(([, { size }]) => size === batch * features) ?? [];
  if (input === undefined || !images) throw new Error("no input for the images");
  feeds.set(input, OwnTensor.of(input, "float", [1], Float32Array.of(0)));
  // Another error than the one that ends the conversion is no success.
  for (const session of [copied, left, own]) {
    await expect(session.run(feeds)).rejects.toThrow(/cannot run the graph.*(rank|dimension)/i);
    await session.release();
  }
});
