import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/onnx/tensor.ts";
import { optimizerFromStored, type StoredOptimizer } from "../../src/optimizers/stored.ts";
import { uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { type Numbers, referenceSteps, runSteps } from "../optimizers/update-runner.ts";
import { fixture } from "./references.ts";

interface Values {
  readonly parameters: readonly (readonly number[])[];
  readonly averages?: readonly (readonly number[])[];
}

const { cases, steps, kept, learningRate, shapes, groups } = fixture<{
  steps: number;
  /** The updates whose results the file holds, counted from 1. */
  kept: readonly number[];
  learningRate: number;
  shapes: Readonly<Record<string, readonly number[]>>;
  cases: readonly { chain: readonly StoredOptimizer[]; grouped?: true; values: readonly Values[] }[];
  /** What the groups of one parameter change. */
  groups: Readonly<Record<string, { learningRate?: number; weightDecay?: number; idle?: number }>>;
}>("optimizers.json");

const block = (name: string, shape: readonly number[]) => Array.from(uniform(name, elementCount(shape)));
const parameters = Object.entries(shapes).map(([name, shape]) => ({
  // Muon alone asks for it.
  ...(shape.length === 2 && { matrix: { unitAxis: 0, groups: 1, isOutput: false } as const }),
  ...{ name, shape, start: block(`optimizers.${name}`, shape) },
}));
const withRate = Object.values(groups).flatMap(({ learningRate: rate }) => rate ?? []);
/** The same parameters with what their groups change. */
const apart = parameters.map((parameter) => {
  const { learningRate: rate = -1, ...rest } = groups[parameter.name] ?? {};
  return { ...parameter, ...rest, ...(rate >= 0 && { rate: withRate.indexOf(rate) }) };
});
const updates = Array.from({ length: steps }, (_, step) => ({
  gradients: parameters.map(({ name, shape }) => block(`optimizers.${name}.gradient.${step}`, shape)),
  learningRate,
  rates: withRate,
}));

const textOf = (chain: readonly StoredOptimizer[]) =>
  chain.map(({ name, options }) => `${name} ${JSON.stringify(options)}`).join(", ");

/** PyTorch in float64, given the same gradients of several parameters. */
describe.each(cases.map((one) => [`${textOf(one.chain)}${one.grouped ? ", in groups" : ""}`, one] as const))(
  "%s",
  (_, { chain, values, grouped }) => {
    const optimizer = optimizerFromStored({ name: "", options: {}, parts: chain });
    // Each update rounds once more.
    const check = (found: readonly Numbers[], ofFive: number) => {
      for (const [at, expected] of values.entries()) {
        for (const [i, { name }] of parameters.entries()) {
          const step = kept[at] ?? Number.NaN;
          const tolerance = ofFive * Math.max(1, step / 10);
          const { parameters: own = [], slots = {} } = found[step - 1] ?? {};
          expect(maxDifference(own[i] ?? [], expected.parameters[i] ?? [])).toBeLessThan(tolerance);
          const average = expected.averages?.[i];
          const slot = slots[`${name}.ema`] ?? slots[`${name}.swa`] ?? [];
          if (average) expect(maxDifference(slot, average)).toBeLessThan(tolerance);
        }
      }
    };

    for (const [type, tolerance] of [
      ["float", 1e-6],
      ["double", 1e-13],
    ] as const) {
      test(`updates in a ${type} graph`, async () => {
        const typed = (grouped ? apart : parameters).map((parameter) => ({ ...parameter, type }));
        check(await runSteps(optimizer, typed, updates), tolerance);
      });
    }

    // The graph holds parameters that wait, so the reference has none.
    if (grouped) return;
    test("updates of the float64 reference", () => {
      check(referenceSteps(optimizer, parameters, updates), 1e-13);
    });
  },
);
