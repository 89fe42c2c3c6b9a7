import { expect, test } from "vitest";
import { afterEachUpdate } from "../../src/optimizers/accumulate.ts";
import { accumulate, adamw, sgd } from "../../src/optimizers/public.ts";
import { applyPenalties } from "../../src/optimizers/transformations/apply-penalties.ts";
import { maxDifference, randomNormals } from "../helpers/numbers.ts";
import { type Parameter, referenceSteps, runSteps } from "./update-runner.ts";

const normals = (name: string, count: number): number[] =>
  [...randomNormals(name, count)].map((one) => one / 4);

const parameters: Parameter[] = [
  { name: "w", type: "double", shape: [2, 3], start: normals("apply.w", 6), penalized: true },
  { name: "b", type: "double", shape: [3], start: normals("apply.b", 3) },
];
const steps = Array.from({ length: 5 }, (_, i) => ({
  gradients: parameters.map(({ name, start }) => normals(`apply.${name}.${i}`, start.length)),
  learningRate: 0.05,
}));

test.each([
  ["decoupled", sgd({ momentum: 0.9 })],
  ["decoupled", accumulate(2, adamw())],
  ["retraction", adamw()],
  ["retraction", accumulate(2, sgd())],
] as const)("%s: the graph is the reference", async (how, optimizer) => {
  const whole = afterEachUpdate(optimizer, applyPenalties(how));
  const [found, expected] = [
    await runSteps(whole, parameters, steps),
    referenceSteps(whole, parameters, steps),
  ];
  const plain = referenceSteps(optimizer, parameters, steps);
  for (const [i, { parameters: numbers }] of found.entries()) {
    for (const [p, own] of numbers.entries())
      expect(maxDifference(own, expected[i]?.parameters[p] ?? [])).toBeLessThan(1e-12);
  }
  const [w, b] = [0, 1].map((p) =>
    maxDifference(expected.at(-1)?.parameters[p] ?? [], plain.at(-1)?.parameters[p] ?? []),
  );
  // The penalty moves the one, and leaves the other.
  expect(w).toBeGreaterThan(1e-3);
  expect(b).toBe(0);
});
