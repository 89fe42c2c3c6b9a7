import { expect, test } from "vitest";
import { lossScaleSlots, scaleLoss } from "../../src/optimizers/loss-scale.ts";
import { transformationOf } from "../../src/optimizers/optimizer.ts";
import { packSmall } from "../../src/optimizers/pack.ts";
import { accumulate, adamw, averageWeights, chain, nadam } from "../../src/optimizers/public.ts";
import { randomNormals, relativeError } from "../helpers/numbers.ts";
import { type Parameter, runSteps, type UpdateStep } from "./update-runner.ts";

const idles = [0, 4, 2, 4, 0];
const parameters = idles.map((idle, i): Parameter => {
  const name = `p${i}`;
  return {
    ...{ name, type: "float", shape: [3], start: Array.from(randomNormals(name, 3)) },
    ...(idle > 0 && { idle }),
    ...(i > 2 && { rate: 0, weightDecay: 0.5 }),
  };
});
const steps = Array.from({ length: 9 }, (_, step): UpdateStep => {
  const gradients = parameters.map(({ name }) => Array.from(randomNormals(`${name} ${step}`, 3)));
  return { gradients, learningRate: 0.1, rates: [0.03] };
});
/** The same parameters, waiting for other numbers of updates. */
const waiting = (idle: (before: number) => number) =>
  parameters.map((one) => ({ ...one, ...(one.idle && { idle: idle(one.idle) }) }));

test("small parameters of one group are one tensor, with the numbers of single ones", async () => {
  for (const optimizer of [chain(adamw(), averageWeights(0.9)), nadam({ weightDecay: 0.1 })]) {
    const packed = packSmall(transformationOf(optimizer), 8);
    expect(await runSteps(packed, parameters, steps)).toEqual(await runSteps(optimizer, parameters, steps));
  }
});

test("a mean of batches counts a gradient as 0 while its parameter waits", async () => {
  const means = [0, 3, 6].map((first): UpdateStep => {
    const batches = [first, first + 1, first + 2];
    const gradients = parameters.map(({ start, idle = 0 }, i) =>
      start.map((_, k) =>
        batches.reduce((sum, at) => sum + (at < idle ? 0 : (steps[at]?.gradients[i]?.[k] ?? 0)) / 3, 0),
      ),
    );
    return { gradients, learningRate: 0.1, rates: [0.03] };
  });
  const joint = await runSteps(
    adamw(),
    waiting((idle) => Math.floor(idle / 3)),
    means,
  );
  const parts = await runSteps(accumulate(3, adamw()), parameters, steps);
  for (const [update, { parameters: expected }] of joint.entries()) {
    for (const [i, values] of expected.entries()) {
      expect(relativeError(parts[update * 3 + 2]?.parameters[i] ?? [], values)).toBeLessThan(2e-6);
    }
  }
});

test("updates that loss scaling leaves out while a parameter waits do not delay its count", async () => {
  const options = { initScale: 1, growthFactor: 2, backoffFactor: 0.5, growthInterval: 100 };
  const first = parameters.map(({ start }) => start.map(() => Number.POSITIVE_INFINITY));
  const broken = [{ ...(steps[0] as UpdateStep), gradients: first }, ...steps];
  // The scale of 1 is halved by the update that is left out.
  const halved = broken.map((step, i) => ({
    ...step,
    gradients: i === 0 ? first : step.gradients.map((own) => own.map((value) => value / 2)),
  }));
  for (const optimizer of [adamw(), nadam({ weightDecay: 0.1 })].map(transformationOf)) {
    const later = waiting((idle) => idle + 1);
    const scaled = await runSteps(scaleLoss(options, optimizer), later, halved);
    const plain = await runSteps(optimizer, parameters, steps);
    for (const [step, { parameters: expected }] of plain.entries()) {
      expect(relativeError(scaled[step + 1]?.parameters.flat() ?? [], expected.flat())).toBeLessThan(2e-6);
    }
  }
});

test("a scale that keeps growing stays a number, up to 2¹²⁷", async () => {
  const options = { initScale: 2 ** 126, growthFactor: 2, backoffFactor: 0.5, growthInterval: 1 };
  const given = [{ name: "w", type: "float", shape: [1], start: [1] }] as const;
  const zeros = [0, 1, 2, 3].map((): UpdateStep => ({ gradients: [[0]], learningRate: 0.1 }));
  const found = await runSteps(scaleLoss(options, transformationOf(adamw())), given, zeros);
  expect(found.map(({ slots }) => slots[lossScaleSlots.scale])).toEqual([
    [2 ** 127],
    [2 ** 127],
    [2 ** 127],
    [2 ** 127],
  ]);
});
