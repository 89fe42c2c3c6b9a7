import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type ConvolutionSizes, coefficients, measuredCosts } from "../../../src/passes/layout/costs.ts";

interface Times {
  readonly images: number;
  readonly rows: number;
}

/** What bench/layouts.ts measured. */
const measured = JSON.parse(readFileSync("bench/results/layouts.json", "utf8")) as {
  readonly coefficients: Readonly<Record<string, readonly number[]>>;
  readonly convolutions: readonly (Times & { readonly sizes: ConvolutionSizes })[];
  readonly normalizations: readonly (Times & {
    readonly samples: number;
    readonly channels: number;
    readonly positions: number;
  })[];
};

test("the coefficients are those that were fitted to the measurements", () => {
  expect(coefficients).toEqual(measured.coefficients);
});

/** The time of the layout that the costs choose, by the best time. */
const regret = (times: Times, costs: Times): number =>
  (costs.images <= costs.rows ? times.images : times.rows) / Math.min(times.images, times.rows);

test("for each measured convolution the chosen layout takes at most 1.15 times the best time", () => {
  expect(measured.convolutions.length).toBeGreaterThan(40);
  const wrong = measured.convolutions.filter(
    (found) => regret(found, measuredCosts.convolution(found.sizes)) > 1.15,
  );
  expect(wrong).toEqual([]);
});

test("for each measured BatchNormalization the difference of the costs errs by at most 4.5 ns an element", () => {
  for (const { samples, channels, positions, images, rows } of measured.normalizations) {
    const elements = samples * channels * positions;
    const costs = measuredCosts.normalization(elements, positions);
    const error = Math.abs(costs.images - costs.rows - (images - rows)) / elements;
    expect(error, `${samples}×${channels}, ${positions} positions`).toBeLessThan(0.0045);
  }
});
