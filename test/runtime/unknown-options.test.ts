import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  arrayDataset,
  buildArtifacts,
  buildSplitStep,
  buildStep,
  crossEntropy,
  differentiate,
  evaluateModel,
  inject,
  loadData,
  type Model,
  predict,
  readModel,
  som,
  Trainer,
} from "../../src/index.ts";
import { temporaryFolder } from "../cli/run-cli.ts";

const folder = temporaryFolder();
const labels = Int32Array.from({ length: 8 }, (_, i) => i);
const data = arrayDataset(new Float32Array(8 * 784), labels, [1, 28, 28]);
let model: Model;
beforeAll(async () => {
  copyFileSync("models/mlp.onnx", join(folder.path, "m.onnx"));
  model = await readModel(join(folder.path, "m.onnx"));
});
afterAll(() => folder.remove());

/** Options as JavaScript gives them, unchecked by types. */
const own = <O>(options: O, more: object): O => ({ ...options, ...more });
const loss = { objective: crossEntropy(), batch: 4 };

/** Each function with an option that it does not have, or a value that there is not. */
const calls: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
  [
    "Trainer",
    () => Trainer.create(model, own(loss, { learningrate: 1 })),
    /"learningrate": write learningRate/,
  ],
  ["Trainer", () => Trainer.create(model, own(loss, { batchnorm: "train" })), /"batchnorm": write batchNorm/],
  [
    "lora",
    () => Trainer.create(model, own(loss, { lora: { rnk: 2 } })),
    /lora has no option "rnk"; it has rank/,
  ],
  [
    "groups",
    () => Trainer.create(model, own(loss, { groups: [{ match: /fc1/, freezeUntil: 1, lr: 1 }] })),
    /a group of parameters has no option "lr"; it has match, learningRate/,
  ],
  [
    "penalties",
    () => Trainer.create(model, own(loss, { penalties: [{ penalty: som(), wieght: 2 }] })),
    /the plan of a penalty has no option "wieght"; it has penalty, weight/,
  ],
  ["form", () => Trainer.create(model, own(loss, { batchNorm: "off" })), /takes train or frozen, not "off"/],
  [
    "variance",
    () => Trainer.create(model, own(loss, { runningVariance: "tf" })),
    /takes onnx or torch, not "tf"/,
  ],
  ["scaling", () => Trainer.create(model, own(loss, { normalize: "imagenet" })), /not "imagenet"/],
  [
    "scaling",
    () => Trainer.create(model, own(loss, { normalize: { mean: [Number.NaN], std: [1] } })),
    /not NaN/,
  ],
  ["schedule", () => Trainer.create(model, own(loss, { schedule: 0.1 })), /schedule takes a text/],
  [
    "buildStep",
    () => buildStep(model, own(loss, { no_decay: true })),
    /buildStep has no option "no_decay": write noDecay/,
  ],
  [
    "buildSplitStep",
    () => buildSplitStep(model, own(loss, { steps: 1 })),
    /buildSplitStep has no option "steps"$/,
  ],
  [
    "buildArtifacts",
    () => buildArtifacts(model, own(loss, { Batch: 8 })),
    /buildArtifacts has no option "Batch": write batch/,
  ],
  ["differentiate", () => differentiate(model, own(loss, { wrtinputs: /x/ })), /write wrtInputs/],
  ["inject", () => inject(model, own({ penalties: [som()] }, { per_site: true })), /write perSite/],
  [
    "evaluateModel",
    () => evaluateModel(model, data, own({}, { worst: -1 })),
    /worst samples must be a whole/,
  ],
  [
    "evaluateModel",
    () => evaluateModel(model, data, own({}, { metric: ["f1"] })),
    /no option "metric"; it has/,
  ],
  ["predict", () => predict(model, data, own({}, { worst: 3 })).next(), /predict has no option "worst"/],
  ["loadData", () => loadData("none.csv", own({}, { lable: "a" })), /loadData has no option "lable"/],
  ["loadData", () => loadData("none.csv", own({}, { missing: "median" })), /takes mean or zero or drop/],
  ["loadData", () => loadData("none.csv", own({}, { resize: "fit" })), /takes crop or stretch/],
];

async function eventsOf(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events);
}

describe("an option that is misspelt, or has no such value, is refused by", () => {
  it.each(calls)("%s: %s", async (_, call, says) => {
    await expect(call()).rejects.toThrow(says);
  });

  it("fit, which also says when a schedule or a penalty's schedule does nothing", async () => {
    const said: string[] = [];
    const onMessage = (text: string) => said.push(text);
    const trainer = await Trainer.create(model, { ...loss, schedule: "milestones:at=99", onMessage });
    const run = (options: object) => eventsOf(trainer.fit(data, own({ epochs: 1 }, options)));
    await expect(run({ maxstep: 1 })).rejects.toThrow(/fit has no option "maxstep"; it has epochs, maxSteps/);
    await expect(run({ earlyStop: { patiense: 1 } })).rejects.toThrow(/earlyStop has no option "patiense"/);
    await run({});
    expect(said).toContain("the schedule leaves the learning rate as it is in all 2 steps");
    await trainer.release();
    const unpenalized = await Trainer.create(model, { ...loss, penaltySchedule: "cosine" });
    const fitted = eventsOf(unpenalized.fit(data, { epochs: 1 }));
    await expect(fitted).rejects.toThrow(/--penalty-schedule\) has no effect: the run has no penalty/);
    await unpenalized.release();
  });
});
