import { describe, expect, test } from "vitest";
import { appliesTo } from "../../src/penalties/applies.ts";
import { maxAbs, randomInts, relativeError } from "../helpers/numbers.ts";
import { dataFor, layers, penalties } from "./cases.ts";
import {
  type LayerCase,
  type LayerData,
  type LayerResult,
  referenceOf,
  runPenalty,
  siteOf,
} from "./layer-case.ts";

/** The largest relative error of value and gradients; a gradient that is 0 has to be 0. */
function errorOf(actual: LayerResult, expected: LayerResult): number {
  const value = Math.abs(actual.value - expected.value) / Math.max(Math.abs(expected.value), 1e-3);
  const gradients = (["response", "weight", "bias"] as const).map((of) =>
    expected[of].every((slope) => slope === 0)
      ? Math.max(0, ...actual[of].map(Math.abs))
      : relativeError(actual[of], expected[of]),
  );
  return Math.max(value, ...gradients);
}

const cases = Object.entries(penalties).flatMap(([text, penalty]) =>
  Object.entries<LayerCase>(layers)
    .filter(([, layer]) => appliesTo(penalty, siteOf(layer).site) === true)
    .map(([name, layer]) => ({ text, penalty, name, layer, data: dataFor(name, layer) })),
);

describe.each(cases)("$text, $name", ({ penalty, layer, data }) => {
  const expected = referenceOf(penalty, layer, data);

  test("float64 is the reference", async () => {
    const actual = await runPenalty(penalty, { ...layer, type: "double" }, data).catch(
      (error: unknown) => error,
    );
    // ONNX Runtime has no float64 convolution.
    if (String(actual).includes("Conv")) return;
    expect(errorOf(actual as LayerResult, expected)).toBeLessThan(1e-11);
  });

  test("float32, in opsets 11 and 18, with constants of both kinds", async () => {
    const old = { opset: 11, constants: "nodes" } as const;
    expect(errorOf(await runPenalty(penalty, layer, data), expected)).toBeLessThan(1e-5);
    expect(errorOf(await runPenalty(penalty, { ...layer, ...old }, data), expected)).toBeLessThan(1e-5);
  });

  test("the reference has the gradient of its value", () => {
    const { definition, options } = penalty;
    const inexact = definition.reference && /rms/.test(`${options.scale}`);
    if (inexact) return;
    for (const of of ["response", "weight", "bias"] as const) {
      const slopes = expected[of];
      if (slopes.length === 0) continue;
      // How much one entry that is off by 1e-6 of the largest shows along a direction.
      const atMost = (1e-6 * maxAbs(slopes)) / Math.sqrt(slopes.length);
      for (const name of ["first", "second"]) {
        const direction = randomSigns(`${name} direction`, slopes.length);
        const along = slopes.reduce((sum, slope, i) => sum + slope * (direction[i] ?? 0), 0);
        const quotient = difference(penalty, layer, data, of, direction);
        expect(Math.abs(quotient - along)).toBeLessThanOrEqual(atMost);
      }
    }
  });
});

/** A seeded vector of length 1 whose entries differ in their signs alone, so that none of them counts less. */
const randomSigns = (name: string, count: number): number[] =>
  randomInts(name, count, 0, 2).map((bit) => (2 * bit - 1) / Math.sqrt(count));

/** The central difference of the reference's value along a direction, fourth order. */
function difference(
  penalty: (typeof cases)[number]["penalty"],
  layer: LayerCase,
  data: LayerData,
  of: "response" | "weight" | "bias",
  direction: readonly number[],
): number {
  const step = 1e-5;
  const at = (offset: number): number => {
    const moved = Float64Array.from(data[of] ?? [], (x, i) => x + offset * step * (direction[i] ?? 0));
    return referenceOf(penalty, layer, { ...data, [of]: moved }).value;
  };
  return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
}
