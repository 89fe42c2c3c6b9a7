import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { appliesTo } from "../../src/penalties/applies.ts";
import type { Penalty } from "../../src/penalties/penalty.ts";
import { maxAbs, maxDifference } from "../helpers/numbers.ts";
import { penalties } from "./cases.ts";
import {
  attributesOf,
  type LayerCase,
  type LayerData,
  referenceOf,
  runPenalty,
  siteOf,
} from "./layer-case.ts";

/** What becomes of a unit: all its weights and responses. */
type Fate = "alive" | "dead" | "copy" | "negative";

/** A Gemm whose units may be dead, copies of the first one, or its negative. */
const layer = fc
  .record({
    inputs: fc.integer({ min: 1, max: 5 }),
    rows: fc.integer({ min: 2, max: 9 }),
    fates: fc.array(fc.constantFrom<Fate>("alive", "alive", "dead", "copy", "negative"), {
      minLength: 2,
      maxLength: 6,
    }),
    seed: fc.integer({ min: 0, max: 1000 }),
    size: fc.constantFrom(0.01, 0.3, 3),
  })
  .map(({ inputs, rows, fates, seed, size }) => {
    const units = fates.length;
    const c: LayerCase = {
      response: [rows, units],
      unitAxis: 1,
      weight: [units, inputs],
      attributes: attributesOf.transposed,
    };
    // Sums of sines: never equal by accident.
    const number = (i: number) => size * (Math.sin(12.9 * i + seed) + 0.3 * Math.sin(7.3 * i + 2 * seed));
    const fated = (unit: number, i: number) => {
      const fate = fates[unit] ?? "alive";
      if (unit === 0 || fate === "alive") return number(100 * unit + i);
      if (fate === "dead") return 0;
      return (fate === "copy" ? 1 : -1) * number(i);
    };
    const weight = Array.from({ length: units * inputs }, (_, i) =>
      fated(Math.floor(i / inputs), i % inputs),
    );
    const response = Array.from({ length: rows * units }, (_, i) =>
      fated(i % units, 50 + Math.floor(i / units)),
    );
    return { c, data: { weight, response } satisfies LayerData };
  });

/** Where a largest entry or a nearest neighbour is not the only one, rounding decides whose gradient it is. */
const decidedByRounding = /^(mc|mma|keras)/;

describe.each(Object.entries(penalties))("%s", (text, penalty) => {
  test("dead, equal and opposite units, a single input, more units than inputs", async () => {
    await fc.assert(
      fc.asyncProperty(layer, async ({ c, data }) => {
        if (appliesTo(penalty, siteOf(c).site) !== true) return;
        const expected = referenceOf(penalty, c, data);
        const double = await runPenalty(penalty, { ...c, type: "double" }, data);
        expect(double.value).toBeCloseTo(
          expected.value,
          -Math.log10(1e-8 * Math.max(1, Math.abs(expected.value))),
        );
        for (const of of ["weight", "response"] as const) {
          expect(double[of].every(Number.isFinite)).toBe(true);
          if (decidedByRounding.test(text)) continue;
          // Of saturated responses, and of vectors along one line, a gradient is the rounding of larger numbers.
          const scale = (1e-4 * Math.abs(expected.value)) / Math.max(maxAbs(data[of]), 1e-9);
          const error = maxDifference(double[of], expected[of]);
          expect(error).toBeLessThan(1e-6 * Math.max(maxAbs(expected[of]), scale) + 1e-15);
        }
        const single = await runPenalty(penalty, c, data);
        expect([single.value, ...single.weight, ...single.response].every(Number.isFinite)).toBe(true);
      }),
      { numRuns: 25, seed: 4 },
    );
  });
});

test("a weight that is orthogonal already has the value 0 and no gradient", async () => {
  const c: LayerCase = { response: [4, 3], unitAxis: 1, weight: [3, 3], attributes: attributesOf.transposed };
  const data = { weight: [1, 0, 0, 0, 1, 0, 0, 0, 1], response: new Float32Array(12) };
  const zero: readonly string[] = [
    "so",
    "spectral-so:iterations=4",
    "dso",
    "biggan",
    "mc",
    "srip:seed=2",
    "lorth",
  ];
  const compared = Object.entries(penalties).filter(([text]) => zero.includes(text)) as [string, Penalty][];
  expect(compared).toHaveLength(zero.length);
  for (const [text, penalty] of compared) {
    const { value, weight } = await runPenalty(penalty, c, data);
    expect(value, text).toBe(0);
    // The largest of equal excesses is 0, and its sign is taken as −1: the gradient of mc is one of its subgradients.
    if (text !== "mc")
      expect(
        weight.every((slope) => Math.abs(slope) === 0),
        text,
      ).toBe(true);
  }
});
