import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { arrayDataset, crossEntropy, type StepEvent, Trainer, type TrainerOptions } from "../../src/index.ts";
import { penaltyNamed } from "../../src/penalties/table.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { modelFixture } from "../oracles/references.ts";

const [features, classes, size] = [20, 10, 24];
/** 20-32-16-10, 8 samples. */
const network = () => modelFixture("training/mlp.onnx");
const data = arrayDataset(
  uniform("share.x", size * features),
  Int32Array.from(labels("share.y", size, classes)),
  [features],
);
const penalties = [
  { penalty: penaltyNamed("so"), weight: 0.5 },
  { penalty: penaltyNamed("som"), weight: 1, schedule: "linear:warmup=3" },
];
const options: TrainerOptions = { objective: crossEntropy(), penalties, threads: 1, learningRate: 0.01 };

type Told = Pick<TrainerOptions, "onMessage">;
const begun = (given: Partial<TrainerOptions>) => (told: Told) =>
  Trainer.create(network(), { ...options, ...given, ...told });
const resumed = (folder: string) => (told: Told) => Trainer.resume(folder, told);

async function trained(open: (told: Told) => Promise<Trainer>, maxSteps = 5, checkpoint?: string) {
  const messages: string[] = [];
  const trainer = await open({ onMessage: (text) => messages.push(text) });
  const steps: StepEvent[] = [];
  const fit = { epochs: 2, maxSteps, ...(checkpoint !== undefined && { checkpoint }) };
  for await (const event of trainer.fit(data, fit)) if (event.event === "step") steps.push(event);
  const weights = [...trainer.state().parameters].map(([name, tensor]) => [name, tensor.numbers()]);
  const { penaltyWeight = Number.NaN, penaltyShare } = trainer.options;
  await trainer.release();
  return { messages, steps, weights, penaltyWeight, penaltyShare };
}

test("the weight makes the penalty that share of the loss at the first batch, and the run is that of the weight", async () => {
  const plain = penalties.slice(0, 1);
  const shared = await trained(begun({ penalties: plain, penaltyShare: 0.2 }));
  expect(shared.steps[0]?.penaltyShare).toBeCloseTo(0.2, 2);
  expect(shared.penaltyShare).toBeUndefined();
  expect(shared.messages.join()).toContain(`penalty weight ${shared.penaltyWeight}: `);
  const given = await trained(begun({ penalties: plain, penaltyWeight: shared.penaltyWeight }));
  expect(shared.weights).toEqual(given.weights);
  expect(shared.steps.map(({ loss }) => loss)).toEqual(given.steps.map(({ loss }) => loss));
});

test("weights of several penalties count relative to one another, at the end of their schedules", async () => {
  const { penaltyWeight } = await trained(begun({ penaltyShare: 0.5, stepsPerRun: 4 }));
  const { steps } = await trained(begun({ penaltyWeight: 1, stepsPerRun: 1 }), 1);
  const [first] = steps;
  if (!first) throw new RangeError("no step");
  // With weight 1 the loss is that of the data, so, and a third of two times som: its warm-up.
  const { so = 0, som = 0 } = first.penalties;
  const whole = so + 3 * som;
  expect((penaltyWeight * whole) / (first.loss - so - som)).toBeCloseTo(1, 2);
});

test("a resumed run keeps the weight", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sorth-share-"));
  const whole = await trained(begun({ penaltyShare: 0.1 }), 5);
  await trained(begun({ penaltyShare: 0.1 }), 2, folder);
  const again = await trained(resumed(folder), 5, folder);
  await rm(folder, { recursive: true });
  expect(again.penaltyWeight).toBe(whole.penaltyWeight);
  expect(again.weights).toEqual(whole.weights);
});

test.each<[string, Partial<TrainerOptions>, RegExp]>([
  ["no penalty", { penalties: [], penaltyShare: 0.1 }, /--share\) has no effect: the run has no penalty/],
  ["a weight too", { penaltyShare: 0.1, penaltyWeight: 1 }, /give either penaltyWeight .* or penaltyShare/],
  ["all of the loss", { penaltyShare: 1 }, /share must be a number above 0 and below 1, not 1/],
])("refused: %s", async (_, given, message) => {
  await expect(trained(begun(given))).rejects.toThrow(message);
});
