import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseSchedule, scheduleNames } from "../../src/schedules/table.ts";

/** Learning rates by PyTorch and Hugging Face, from a rate of 1; written by scripts/oracles/schedules.py. */
const { steps, stepsPerEpoch, factors, losses, plateaus } = JSON.parse(
  readFileSync("test/fixtures/schedules.json", "utf8"),
) as {
  readonly steps: number;
  readonly stepsPerEpoch: number;
  /** The rate of each step. */
  readonly factors: Readonly<Record<string, readonly number[]>>;
  /** The loss after each epoch; null is NaN. */
  readonly losses: readonly (number | null)[];
  /** The rate of each epoch, and of the one after the last. */
  readonly plateaus: Readonly<Record<string, readonly number[]>>;
};

describe("schedules over a whole run are PyTorch's", () => {
  test.each(Object.entries(factors))("%s", (text, expected) => {
    const schedule = parseSchedule(text);
    expect(expected).toHaveLength(steps);
    for (const [i, factor] of expected.entries()) {
      expect(schedule(i + 1, steps, { stepsPerEpoch }), `step ${i + 1}`).toBeCloseTo(factor, 12);
    }
  });

  test.each(Object.entries(plateaus))("%s", (text, expected) => {
    const schedule = parseSchedule(text);
    const all = losses.map((loss, i) => ({ step: (i + 1) * stepsPerEpoch, loss: loss ?? Number.NaN }));
    expect(new Set(expected).size).toBeGreaterThan(1);
    for (const [epoch, factor] of expected.entries()) {
      // What a run has seen by then, and what a checkpoint of a later epoch holds.
      for (const validation of [all.slice(0, epoch), all]) {
        const run = { stepsPerEpoch, validation };
        const within = [1, stepsPerEpoch].map((step) => schedule(epoch * stepsPerEpoch + step, 1000, run));
        for (const one of within) expect(one, `epoch ${epoch + 1}`).toBeCloseTo(factor, 14);
      }
    }
  });

  test("none is left out but the one that is not PyTorch's", () => {
    const compared = [...Object.keys(factors), ...Object.keys(plateaus)].map((text) => text.split(":")[0]);
    expect(scheduleNames.filter((name) => !compared.includes(name))).toEqual(["srip"]);
  });
});
