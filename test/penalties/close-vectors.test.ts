import { expect, test } from "vitest";
import { penaltyNamed } from "../../src/penalties/table.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { randomNormals, relativeError } from "../helpers/numbers.ts";
import { attributesOf, type LayerCase, referenceOf, runPenalty } from "./layer-case.ts";

const fanIn = 40;

/** Four units of the given length: the second one lies at an angle to the first, the third at its supplement. */
function weights(degrees: number, length: number): Float32Array {
  const [a, b, c] = ["a", "b", "c"].map((name) => unit(Array.from(randomNormals(name, fanIn)))) as number[][];
  const [first, other] = [a ?? [], b ?? []];
  const along = first.reduce((sum, x, i) => sum + x * (other[i] ?? 0), 0);
  const across = unit(other.map((x, i) => x - along * (first[i] ?? 0)));
  const angle = (degrees * Math.PI) / 180;
  const turned = (sign: number) =>
    first.map((x, i) => sign * Math.cos(angle) * x + Math.sin(angle) * (across[i] ?? 0));
  return Float32Array.from([first, turned(1), turned(-1), c ?? []].flat(), (x) => length * x);
}

const unit = (x: readonly number[]): number[] => {
  const norm = Math.hypot(...x);
  return x.map((value) => value / norm);
};

const layer: LayerCase = {
  ...{ response: [2, 4], unitAxis: 1, weight: [4, fanIn] },
  attributes: attributesOf.transposed,
};

test.each(["som:angles=weights", "mhe", "mhe:s=1", "mhe:s=2", "mhe:s=2,half=true", "mma"])(
  "%s: float32 has the gradient of float64 however close two units are, and however long",
  async (text) => {
    const { penalty } = parsePlan(text);
    for (const length of [0.1, 1, 10, 30, 1000]) {
      for (const degrees of [0, 0.001, 0.02, 0.05, 0.1, 0.3, 0.8, 2, 20]) {
        const data = { response: new Float32Array(8), weight: weights(degrees, length) };
        const expected = referenceOf(penalty, layer, data);
        const actual = await runPenalty(penalty, layer, data);
        const of = `${degrees}°, length ${length}`;
        expect(Math.abs(actual.value - expected.value), of).toBeLessThan(5e-3 * Math.abs(expected.value));
        expect(relativeError(actual.weight, expected.weight), of).toBeLessThan(2e-2);
      }
    }
  },
);

test("ocnn:norm=frobenius of kernels that are orthogonal to float32's resolution has no gradient", async () => {
  const penalty = penaltyNamed("ocnn", { norm: "frobenius" });
  const convolution: LayerCase = {
    ...{ op: "Conv", response: [1, 8, 2, 2], unitAxis: 1, weight: [8, 8, 1, 1] },
    attributes: attributesOf.convolution([1, 1], [1, 1]),
  };
  // A Householder reflection in float32: orthogonal but for its rounding.
  const v = unit(Array.from(randomNormals("reflection", 8)));
  const weight = Float32Array.from(
    { length: 64 },
    (_, i) => (i % 9 === 0 ? 1 : 0) - 2 * (v[Math.floor(i / 8)] ?? 0) * (v[i % 8] ?? 0),
  );
  const { value, weight: gradient } = await runPenalty(penalty, convolution, {
    ...{ response: new Float32Array(32), weight },
  });
  expect(value).toBeLessThan(1e-5);
  expect(Math.max(...gradient.map(Math.abs))).toBe(0);
});
