import { describe, expect, test } from "vitest";
import {
  buildStep,
  crossEntropy,
  encodeModel,
  inject,
  type Model,
  sgd,
  strip,
  verify,
} from "../../src/index.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import type { Step } from "../../src/programs/step.ts";
import { StepRunner } from "../oracles/step-runner.ts";
import { smallBatch, smallNetwork, trainedPenalties } from "./small-network.ts";

const batch = 6;
const model = smallNetwork();

const stepOf = (from: Model, options: Partial<Parameters<typeof buildStep>[1]> = {}): Promise<Step> =>
  buildStep(from, { objective: crossEntropy(), optimizer: sgd(), batch, ...options });

/** Losses and penalties of three steps, and the weights behind them. */
async function threeSteps(step: Step, weight: number) {
  const runner = await StepRunner.create(step);
  const figures: { loss: number; penalty: number; penalties: readonly number[] }[] = [];
  for (let index = 0; index < 3; index++) {
    const { x, y } = smallBatch(index, batch);
    figures.push(await runner.run(x, y, { learningRate: 0.05, penaltyWeight: weight }));
  }
  const weights = ["c1.weight", "c2.weight", "m.weight", "fc.weight", "c1.bias"].map((name) => [
    ...runner.state(name),
  ]);
  await runner.release();
  return { figures, weights };
}

describe.each(trainedPenalties)("%s", (text) => {
  const penalties = [{ weight: 0.1, ...parsePlan(text) }];

  test("is injected, verified, and stripped to the same bytes", async () => {
    const injected = await inject(model, { penalties, perSite: true });
    expect(Buffer.compare(encodeModel(strip(injected)), encodeModel(model))).toBe(0);
    const { checks } = await verify(model, injected);
    expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
    const passed = checks.filter(({ status }) => status === "passed").map(({ name }) => name);
    expect(passed).toContain("penalty");
    expect(passed).toContain("batch stays free");
    expect(passed.some((name) => name.startsWith("gradient of"))).toBe(true);
  });

  test("trains from the block as with the option, to the bit", async () => {
    const fromBlock = await threeSteps(await stepOf(await inject(model, { penalties })), 0.1);
    const fromOption = await threeSteps(await stepOf(model, { penalties }), 0.1);
    expect(fromBlock).toEqual(fromOption);
    expect(fromOption.figures.every(({ loss }) => Number.isFinite(loss))).toBe(true);
    const plain = await threeSteps(await stepOf(model), 1);
    expect(fromOption.weights).not.toEqual(plain.weights);
    for (const { penalty, penalties: parts } of fromOption.figures) expect(parts).toEqual([penalty]);
  });
});

describe("opset 11", () => {
  test.each(trainedPenalties)("%s is injected and verified", async (text) => {
    const old = smallNetwork({ opset: 11 });
    const injected = await inject(old, { penalties: [parsePlan(text)] });
    const { checks } = await verify(old, injected);
    expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
  });
});
